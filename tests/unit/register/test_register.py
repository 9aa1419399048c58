import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.api.v1alpha1.modelversion import Evaluation, ModelVersionSpec, Verdict
from modelyard.model import InvalidModel
from modelyard.steps import register
from modelyard.storage.errors import ArtifactCorrupt
from modelyard.storage.objects import ObjectStore
from tests.support.models import write_linear_classifier

HEX = "2" * 64


def record(uid: str = "uid-1", **changes: Any) -> dict[str, Any]:
    return {
        "model": "flight-delay",
        "version": 7,
        "artifact": {"uri": f"s3://store/blobs/sha256/{HEX}", "digest": f"sha256:{HEX}", "bytes": 12},
        "lineage": {
            "trainingRun": {"name": "r", "uid": uid, "namespace": "air"},
            "parametersDigest": f"sha256:{HEX}",
            "seed": 7,
        },
        **changes,
    }


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment and the inputs of a register container; returns the store's folder."""
    store, inputs = tmp_path / "store", tmp_path / "inputs"
    store.mkdir()
    write_linear_classifier(inputs / "model", {"a": 1.0})
    write_linear_classifier(inputs / "champion", {"a": -1.0})
    late = np.arange(200) % 2
    (inputs / "dataset" / "test").mkdir(parents=True)
    pd.DataFrame({"a": late + np.linspace(-0.6, 0.6, 200), "late": late}).to_csv(
        inputs / "dataset" / "test" / "rows.csv", index=False
    )
    variables = {
        "STORE_URI": store.as_uri(),
        "INPUTS_DIR": inputs,
        "RECORD": json.dumps(record()),
        "RUN_UID": "uid-1",
        "STEP": "register",
        "ATTEMPT": "2",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"MODELYARD_{name}", str(value))
    monkeypatch.delenv("MODELYARD_EVALUATION", raising=False)
    return store


def ask(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    asked = {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize", **changes}
    monkeypatch.setenv("MODELYARD_EVALUATION", json.dumps(asked))


def test_model_without_evaluation_is_recorded(pod: Path, tmp_path: Path) -> None:
    signature = (tmp_path / "inputs" / "model" / "modelyard.json").read_bytes()
    digest = f"sha256:{hashlib.sha256(signature).hexdigest()}"
    assert register.main() == {"artifact": {"schemaDigest": digest}}
    written = json.loads((pod / "models" / "flight-delay" / "v7" / "record.json").read_text())
    assert written["artifact"] == {**record()["artifact"], "schemaDigest": digest}
    assert ModelVersionSpec.model_validate(written).evaluation is None


def test_evaluation_is_answered_and_recorded(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch, champion={"version": 6, "digest": f"sha256:{HEX}"})
    result = register.main()
    evaluation = Evaluation.model_validate(result["evaluation"])
    assert evaluation.verdict is Verdict.BETTER_THAN_CHAMPION
    assert result["artifact"]["datasetDigest"] == evaluation.dataset_digest
    written = ModelVersionSpec.model_validate_json((pod / "models/flight-delay/v7/record.json").read_bytes())
    assert written.evaluation == evaluation
    assert json.loads((pod / "runs/uid-1/register/2/result.json").read_text()) == result


def test_repeated_attempt_gives_the_same_record(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch)
    register.main()
    before = (pod / "models/flight-delay/v7/record.json").read_bytes()
    register.main()
    assert (pod / "models/flight-delay/v7/record.json").read_bytes() == before


def test_report_lies_beside_the_record_which_has_its_digest(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch, champion={"version": 6, "digest": f"sha256:{HEX}"})
    evaluation = Evaluation.model_validate(register.main()["evaluation"])
    page = (pod / "models/flight-delay/v7/report.html").read_bytes()
    assert evaluation.report_digest == f"sha256:{hashlib.sha256(page).hexdigest()}"
    assert evaluation.message in page.decode()
    assert evaluation.dataset_digest is not None
    assert evaluation.dataset_digest in page.decode()


def test_model_that_is_not_judged_has_no_report(pod: Path) -> None:
    register.main()
    assert not (pod / "models/flight-delay/v7/report.html").exists()


def test_parameters_of_the_run_are_in_the_report(pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch)
    (tmp_path / "inputs" / ".modelyard").mkdir()
    document = {"parameters": {"maxDepth": "6<7"}, "seed": 7}
    (tmp_path / "inputs" / ".modelyard" / "parameters.json").write_text(json.dumps(document))
    register.main()
    assert "6&lt;7" in (pod / "models/flight-delay/v7/report.html").read_text()


def test_numbers_of_a_step_are_recorded_and_reported(
    pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = {"version": 6, "digest": f"sha256:{HEX}"}
    reported = {"ndcg": "0.5", "champion.ndcg": "0.4"}
    asked = {"by": "Step", "metric": "ndcg", "goal": "Maximize", "reported": reported, "champion": champion}
    monkeypatch.setenv("MODELYARD_EVALUATION", json.dumps(asked))
    (tmp_path / "inputs" / "dataset" / "test" / "rows.csv").unlink()
    found = register.main()
    evaluation = Evaluation.model_validate(found["evaluation"])
    assert (evaluation.by, evaluation.value, evaluation.dataset_digest) == ("Step", "0.5", None)
    assert "datasetDigest" not in found["artifact"]
    assert "ndcg 0.5 is 0.1 better" in (pod / "models/flight-delay/v7/report.html").read_text()


def test_rows_of_a_step_are_named_by_their_digest(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch)
    digest = register.main()["artifact"]["datasetDigest"]
    ask(monkeypatch, by="Step", reported={"rocAuc": "0.7"})
    assert register.main()["artifact"]["datasetDigest"] == digest


def test_model_that_breaks_its_golden_examples_is_invalid(pod: Path, tmp_path: Path) -> None:
    examples = tmp_path / "inputs" / "model" / "examples.json"
    document = json.loads(examples.read_text())
    document["examples"][0]["outputs"][0]["data"][0] += 1
    examples.write_text(json.dumps(document))
    with pytest.raises(InvalidModel, match=r"examples\.json: examples\[0\]: label is 0, must be 1"):
        register.main()
    assert not (pod / "models").exists()


def test_model_that_the_runtime_cannot_load_is_invalid(pod: Path, tmp_path: Path) -> None:
    model = tmp_path / "inputs" / "model" / "model.onnx"
    model.write_bytes(model.read_bytes().replace(b"LinearClassifier", b"LinearClassifieR"))
    with pytest.raises(InvalidModel, match=r"model\.onnx: ONNX Runtime cannot load the model"):
        register.main()


class TestWriteRecord:
    KEY = "models/flight-delay/v7/record.json"

    @pytest.fixture
    def store(self, pod: Path) -> ObjectStore:
        return ObjectStore(pod.as_uri())

    def read(self, pod: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((pod / self.KEY).read_text())
        return content

    def test_later_attempt_of_the_same_run_replaces_it(self, pod: Path, store: ObjectStore) -> None:
        register.write_record(store, self.KEY, ModelVersionSpec.model_validate(record()))
        register.write_record(store, self.KEY, ModelVersionSpec.model_validate(record(card={"owner": "alice"})))
        assert self.read(pod)["card"] == {"owner": "alice"}

    def test_record_of_another_run_is_never_replaced(self, pod: Path, store: ObjectStore) -> None:
        register.write_record(store, self.KEY, ModelVersionSpec.model_validate(record("uid-0")))
        with pytest.raises(ArtifactCorrupt, match="is the record of another run \\(uid uid-0\\)"):
            register.write_record(store, self.KEY, ModelVersionSpec.model_validate(record()))
        assert self.read(pod)["lineage"]["trainingRun"]["uid"] == "uid-0"

    def test_what_is_no_record_is_never_replaced(self, pod: Path, store: ObjectStore) -> None:
        store.put(self.KEY, b"hello")
        with pytest.raises(ArtifactCorrupt, match="is no record"):
            register.write_record(store, self.KEY, ModelVersionSpec.model_validate(record()))


def test_every_reason_of_the_contract_is_known() -> None:
    wanted = {
        "InvalidModel",
        "ArtifactCorrupt",
        "AccessDenied",
        "StoreUnreachable",
        "DatasetInvalid",
        "ChampionUnusable",
        "MetricMissing",
    }
    assert wanted <= set(register.REASONS.values())
