"""The program of the step `register`: validates the model, judges it, and writes its record beside the bytes."""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelyard.api.v1alpha1.modelversion import Evaluation, ModelVersionSpec
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec
from modelyard.conversion.errors import ConversionError
from modelyard.conversion.golden import mismatch
from modelyard.conversion.runtime import OnnxModel
from modelyard.model import InvalidModel, ModelDirectory, load_model_directory
from modelyard.model.signature import SIGNATURE_FILE
from modelyard.steps import termination, workspace
from modelyard.steps.evaluation.judging import Champion, evaluate
from modelyard.steps.publish import REASONS as PUBLISH_REASONS
from modelyard.storage.errors import ArtifactCorrupt, ObjectNotFound
from modelyard.storage.manifests import digest_of
from modelyard.storage.objects import STORE_URI, ObjectStore, Store, read_all
from modelyard.storage.results import result_key, to_json
from modelyard.storage.retry import Patience

MAX_RECORD_BYTES: Final = 1024 * 1024
REASONS: Final = {
    **PUBLISH_REASONS,
    "DatasetInvalid": "DatasetInvalid",
    "ChampionUnusable": "ChampionUnusable",
}
_LOG: Final = logging.getLogger(__name__)


def main() -> Mapping[str, Any]:
    """Validate, judge, record.

    Returns:
        The result, as docs/contracts.md has it.

    Raises:
        InvalidModel: the model breaks the format or its golden examples.
        DatasetInvalid: the judged rows cannot be used.
        ChampionUnusable: the champion cannot score them.
        StorageError: the record cannot be written.
    """
    record = ModelVersionSpec.model_validate_json(workspace.require("MODELYARD_RECORD"))
    inputs = workspace.inputs_folder()
    candidate, model = _validated(inputs / "model")
    evaluation = _evaluated(candidate, model, inputs)
    digests = {"schema_digest": digest_of((inputs / "model" / SIGNATURE_FILE).read_bytes())}
    if evaluation:
        digests["dataset_digest"] = evaluation.dataset_digest
    artifact = record.artifact.model_copy(update=digests)
    record = record.model_copy(update={"artifact": artifact, "evaluation": evaluation})
    store = ObjectStore(workspace.require(STORE_URI))
    patience = Patience(workspace.store_deadline_seconds(), _LOG.info)
    key = f"models/{record.model}/v{record.version}/record.json"
    patience.call(lambda: write_record(store, key, record))
    _LOG.info("recorded as %s", store.url(key))
    result = _result(record)
    patience.call(lambda: store.put(_result_key(), to_json(result)))
    return result


def write_record(store: Store, key: str, record: ModelVersionSpec) -> None:
    """Write a record where there is none, or one of an earlier attempt of the same run.

    A run has its version number to itself, so its attempts, which may judge against different champions, replace each
    other; the last one is the one that the operator reads.

    Raises:
        ArtifactCorrupt: another run's record is there, so the number was given twice.
    """
    data = json.dumps(_dump(record), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    try:
        found = ModelVersionSpec.model_validate_json(read_all(store, key, MAX_RECORD_BYTES))
    except ObjectNotFound:
        store.put_if_absent(key, data)
        return
    except ValueError:
        raise ArtifactCorrupt(f"{store.url(key)}: is no record; move it away") from None
    if _run(found) != _run(record):
        raise ArtifactCorrupt(
            f"{store.url(key)}: is the record of another run (uid {_run(found)}); "
            "restore the ModelVersions of this store, or move its folder models/ away"
        )
    store.put(key, data)


def _validated(folder: Path) -> tuple[ModelDirectory, OnnxModel]:
    directory = load_model_directory(folder)
    try:
        model = OnnxModel(directory.model_file, directory.signature)
        if wrong := mismatch(model, directory.examples):
            raise InvalidModel(f"examples.json: {wrong}")
    except ConversionError as error:
        raise InvalidModel(f"model.onnx: {error}") from None
    _LOG.info("the model is valid and gives the answers of its %d golden examples", len(directory.examples.examples))
    return directory, model


def _evaluated(candidate: ModelDirectory, model: OnnxModel, inputs: Path) -> Evaluation | None:
    text = os.environ.get("MODELYARD_EVALUATION")
    if not text:
        return None
    start = time.monotonic()
    spec = EvaluationSpec.model_validate_json(text)
    champion = _champion(json.loads(text).get("champion"), inputs / "champion")
    evaluation = evaluate(candidate, model, inputs / "dataset", spec, champion)
    _LOG.info("%s: %s (judged in %.1f s)", evaluation.verdict, evaluation.message, time.monotonic() - start)
    return evaluation


def _champion(given: Any, folder: Path) -> Champion | None:
    match given:
        case None:
            return None
        case {"version": int(version), "digest": str(digest)}:
            return Champion(version, digest, folder)
        case _:
            raise ValueError("MODELYARD_EVALUATION: champion must have a version and a digest")


def _result(record: ModelVersionSpec) -> dict[str, Any]:
    content = _dump(record)
    digests = {
        name: content["artifact"][name] for name in ("schemaDigest", "datasetDigest") if name in content["artifact"]
    }
    evaluation = {"evaluation": content["evaluation"]} if record.evaluation else {}
    return {"artifact": digests, **evaluation}


def _result_key() -> str:
    uid, step, attempt = (workspace.require(f"MODELYARD_{name}") for name in ("RUN_UID", "STEP", "ATTEMPT"))
    return result_key(uid, step, int(attempt))


def _dump(record: ModelVersionSpec) -> dict[str, Any]:
    return record.model_dump(by_alias=True, exclude_none=True, mode="json")


def _run(record: ModelVersionSpec) -> str:
    return record.lineage.training_run.uid if record.lineage else ""


if __name__ == "__main__":
    termination.run(main, REASONS)
