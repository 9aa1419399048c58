import json

from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.steps.termination import failure
from modelyard.storage.results import MAX_METRICS, MESSAGE_BYTES, to_message


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=9000))
@example("\x00" * 2000)
@example("\U0001f600" * 2000)
def test_failure_fits_the_termination_log(message: str) -> None:
    text = failure("StoreUnreachable", message)
    assert len(text.encode()) <= MESSAGE_BYTES
    document = json.loads(text)
    assert document["reason"] == "StoreUnreachable"
    assert message.startswith(document["message"])


def test_failure_keeps_a_message_of_usual_length() -> None:
    assert json.loads(failure("DiskFull", "ü" * 1000)) == {"reason": "DiskFull", "message": "ü" * 1000}


def test_result_keeps_the_outputs_and_as_many_metrics_as_fit() -> None:
    output = {"name": "model", "uri": "s3://" + "b" * 200, "digest": "sha256:" + "a" * 64, "bytes": 1}
    metrics = [{"name": f"metric-{n}-" + "x" * 50, "value": "0." + "1" * 15} for n in range(40)]
    kept = json.loads(to_message({"outputs": [output], "metrics": metrics}))
    assert kept == {"outputs": [output], "metrics": metrics[:MAX_METRICS]}
    kept = json.loads(to_message({"outputs": [output] * 8, "metrics": metrics}))
    assert kept["outputs"] == [output] * 8
    assert 0 < len(kept["metrics"]) < MAX_METRICS
