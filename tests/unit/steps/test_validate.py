import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard.steps import publish, validate
from modelyard.storage.errors import InvalidSource
from modelyard.validation.profile import Profile


@dataclass
class Pod:
    """The folders of the step's pod, on a store that is a folder."""

    root: Path

    @property
    def profile(self) -> Path:
        return self.root / "work" / "outputs" / "profile"

    @property
    def failure(self) -> dict[str, str] | None:
        path = self.root / "work" / "failure.json"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def findings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.profile / "findings.json").read_text())["findings"]
        return found

    @property
    def result(self) -> dict[str, Any]:
        path = self.root / "store" / "runs" / "uid" / "validate" / "1" / "result.json"
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def give(self, name: str, text: str) -> None:
        (self.root / "inputs" / name).mkdir(parents=True)
        (self.root / "inputs" / name / "t.csv").write_text(text)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    (tmp_path / "store").mkdir()
    variables = {
        "MODELYARD_INPUTS_DIR": tmp_path / "inputs",
        "MODELYARD_OUTPUTS_DIR": tmp_path / "work" / "outputs",
        "MODELYARD_OUTPUTS": '["profile"]',
        "MODELYARD_METRICS_FILE": tmp_path / "work" / "metrics.jsonl",
        "MODELYARD_FAILURE_FILE": tmp_path / "work" / "failure.json",
        "MODELYARD_STORE_URI": f"file://{tmp_path}/store/",
        "MODELYARD_RUN_UID": "uid",
        "MODELYARD_STEP": "validate",
        "MODELYARD_ATTEMPT": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    pod = Pod(tmp_path)
    pod.profile.mkdir(parents=True)
    return pod


def expect(monkeypatch: pytest.MonkeyPatch, **inputs: Any) -> None:
    monkeypatch.setenv("MODELYARD_EXPECTATIONS", json.dumps(inputs))


def test_inputs_as_expected_leave_a_profile(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.give("flights", "delay,carrier\n1,AA\n2,UA\n")
    expect(monkeypatch, flights={"minimumRows": 2})
    assert validate.main() == {}
    known = Profile.model_validate_json((pod.profile / "profile.json").read_text()).input("flights")
    assert known is not None
    assert (known.rows, [column.name for column in known.columns]) == (2, ["carrier", "delay"])
    assert (pod.failure, pod.findings) == (None, [])
    assert [output["name"] for output in publish.main()["outputs"]] == ["profile"]


def test_broken_expectations_are_kept_and_end_the_step(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.give("flights", "delay,carrier\nNA,AA\nx,UA\n")
    expect(monkeypatch, flights={"columns": [{"name": "delay", "type": "Number", "nullable": False}]})
    validate.main()
    message = (
        "input 'flights': column 'delay' has 50 % missing, none allowed; "
        "column 'delay' has 1 values (50 %) that are no Number"
    )
    assert pod.failure == {"reason": "DataInvalid", "message": message}
    with pytest.raises(publish.WorkFailedError) as raised:
        publish.main()
    assert (raised.value.reason, str(raised.value)) == ("DataInvalid", message)
    assert publish.REASONS["DataInvalid"] == "DataInvalid"
    assert pod.result["failure"] == pod.failure
    assert [output["name"] for output in pod.result["outputs"]] == ["profile"]
    assert len(pod.findings) == 2


def test_files_that_cannot_be_read_are_a_finding(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.give("flights", "a,b\n1\n")
    pod.give("planes", "a,b\n1,2\n")
    expect(monkeypatch, flights={}, planes={})
    validate.main()
    assert pod.failure is not None
    assert pod.failure["message"] == (
        "input 'flights': cannot be read: file 't.csv': line 2 has 1 values, the first line names 2 columns"
    )
    profile = Profile.model_validate_json((pod.profile / "profile.json").read_text())
    assert [known.name for known in profile.inputs] == ["planes"]


def test_inputs_are_compared_with_the_previous_profile(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    expect(monkeypatch, flights={"schema": "SameAsPrevious"})
    pod.give("flights", "delay,carrier\n1,AA\n2,UA\n")
    validate.main()
    assert [(f["check"], f["severity"]) for f in pod.findings] == [("Previous", "Warning")]
    (pod.root / "inputs" / "previous").mkdir()
    (pod.profile / "profile.json").rename(pod.root / "inputs" / "previous" / "profile.json")
    (pod.root / "inputs" / "flights" / "t.csv").write_text("delay\n1\n2\n")
    validate.main()
    assert pod.failure is not None
    assert pod.failure["message"] == "input 'flights': column 'carrier' is gone, the previous run had it"


@pytest.mark.parametrize("text", ["junk", '{"schema": "modelyard.dev/data-profile/v9", "inputs": []}'])
def test_previous_profile_of_another_form_is_not_used(tmp_path: Path, text: str) -> None:
    file = tmp_path / "profile.json"
    file.write_text(text)
    assert validate.read_previous(file) is None


def test_environment_that_says_something_else_is_named(monkeypatch: pytest.MonkeyPatch, pod: Pod) -> None:
    expect(monkeypatch, flights={"minimumRows": "many"})
    with pytest.raises(InvalidSource, match=r"MODELYARD_EXPECTATIONS: flights.minimumRows: "):
        validate.main()
