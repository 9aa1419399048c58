"""The program of the step `register`: validates the model, judges it, and writes its record beside the bytes."""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelyard.api.canonical import as_json, compact_json
from modelyard.api.v1alpha1.modelversion import Evaluation, ModelVersionSpec
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Judge
from modelyard.conversion.errors import ConversionError
from modelyard.conversion.golden import mismatch
from modelyard.conversion.runtime import OnnxModel
from modelyard.model import InvalidModel, ModelDirectory, load_model_directory
from modelyard.model.signature import SIGNATURE_FILE, Signature
from modelyard.report.page import Subject, render
from modelyard.steps import termination, workspace
from modelyard.steps.documents import write_documents
from modelyard.steps.evaluation.dataset import digest_of as digest_of_rows
from modelyard.steps.evaluation.dataset import locate
from modelyard.steps.evaluation.judging import Champion, evaluate
from modelyard.steps.evaluation.record import fitted
from modelyard.steps.evaluation.reported import evaluate_reported
from modelyard.steps.publish import REASONS as PUBLISH_REASONS
from modelyard.storage.errors import ArtifactCorrupt, ObjectNotFound
from modelyard.storage.manifests import digest_of
from modelyard.storage.objects import STORE_URI, ObjectStore, Store, read_all
from modelyard.storage.records import record_key, report_key
from modelyard.storage.results import result_key, to_json
from modelyard.storage.retry import Patience

MAX_RECORD_BYTES: Final = 1024 * 1024
REASONS: Final = {
    **PUBLISH_REASONS,
    "DatasetInvalid": "DatasetInvalid",
    "ChampionUnusable": "ChampionUnusable",
    "MetricMissing": "MetricMissing",
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
        MetricMissing: a step did not report what the model is judged by.
        StorageError: the record cannot be written.
    """
    record = ModelVersionSpec.model_validate_json(workspace.require("MODELYARD_RECORD"))
    inputs = workspace.inputs_folder()
    candidate, model = _validated(inputs / "model")
    subject = _judged(candidate, model, inputs, record)
    evaluation = subject.evaluation if subject else None
    page = render(subject).encode() if subject else None
    digests = {"schema_digest": digest_of((inputs / "model" / SIGNATURE_FILE).read_bytes())}
    if evaluation and page:
        digests |= {"dataset_digest": evaluation.dataset_digest} if evaluation.dataset_digest else {}
        evaluation = fitted(evaluation.model_copy(update={"report_digest": digest_of(page)}))
    artifact = record.artifact.model_copy(update=digests)
    record = record.model_copy(update={"artifact": artifact, "evaluation": evaluation})
    result = _result(record)
    _store(record, candidate.signature, page, to_json(result))
    return result


def _store(record: ModelVersionSpec, signature: Signature, page: bytes | None, result: bytes) -> None:
    """Write record, report, documents and result, in this order: a record of another run must stop the rest."""
    store = ObjectStore(workspace.require(STORE_URI))
    patience = Patience(workspace.store_deadline_seconds(), _LOG.info)
    key = record_key(record.model, record.version)
    patience.call(lambda: write_record(store, key, record))
    _LOG.info("recorded as %s", store.url(key))
    if page is not None:
        report = report_key(record.model, record.version)
        patience.call(lambda: store.put(report, page))
        _LOG.info("report (%d KiB): %s", len(page) // 1024, store.url(report))
    patience.call(lambda: write_documents(store, record, signature))
    patience.call(lambda: store.put(_result_key(), result))


def write_record(store: Store, key: str, record: ModelVersionSpec) -> None:
    """Write a record where there is none, or one of an earlier attempt of the same run.

    A run has its version number to itself, so its attempts, which may judge against different champions, replace each
    other; the last one is the one that the operator reads.

    Raises:
        ArtifactCorrupt: another run's record is there, so the number was given twice.
    """
    data = compact_json(as_json(record)).encode()
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


def _judged(candidate: ModelDirectory, model: OnnxModel, inputs: Path, record: ModelVersionSpec) -> Subject | None:
    text = os.environ.get("MODELYARD_EVALUATION")
    if not text:
        return None
    start = time.monotonic()
    spec = EvaluationSpec.model_validate_json(text)
    asked = json.loads(text)
    champion = _champion(asked.get("champion"), inputs / "champion")
    parameters = _parameters(inputs / ".modelyard" / "parameters.json")
    if spec.by is Judge.STEP:
        evaluation = _reported(spec, asked.get("reported") or {}, inputs / "dataset", champion)
        subject = Subject(record, spec, evaluation, None, parameters)
    else:
        judged = evaluate(candidate, model, inputs / "dataset", spec, champion)
        evaluation = judged.evaluation
        subject = Subject(record, spec, evaluation, judged.evidence, parameters)
    _LOG.info("%s: %s (judged in %.1f s)", evaluation.verdict, evaluation.message, time.monotonic() - start)
    return subject


def _reported(spec: EvaluationSpec, reported: Mapping[str, str], output: Path, champion: Champion | None) -> Evaluation:
    evaluation = evaluate_reported(spec, reported, (champion.version, champion.digest) if champion else None)
    if spec.dataset is None:
        return evaluation
    return evaluation.model_copy(update={"dataset_digest": digest_of_rows(locate(output, spec.dataset))})


def _parameters(file: Path) -> Mapping[str, str]:
    """Return the run's parameters, for the report; none where fetch was not given any."""
    parameters: Mapping[str, str] = json.loads(file.read_bytes())["parameters"] if file.exists() else {}
    return parameters


def _champion(given: Any, folder: Path) -> Champion | None:
    match given:
        case None:
            return None
        case {"version": int(version), "digest": str(digest)}:
            return Champion(version, digest, folder)
        case _:
            raise ValueError("MODELYARD_EVALUATION: champion must have a version and a digest")


def _result(record: ModelVersionSpec) -> dict[str, Any]:
    content = as_json(record)
    digests = {
        name: content["artifact"][name] for name in ("schemaDigest", "datasetDigest") if name in content["artifact"]
    }
    evaluation = {"evaluation": content["evaluation"]} if record.evaluation else {}
    return {"artifact": digests, **evaluation}


def _result_key() -> str:
    uid, step, attempt = (workspace.require(f"MODELYARD_{name}") for name in ("RUN_UID", "STEP", "ATTEMPT"))
    return result_key(uid, step, int(attempt))


def _run(record: ModelVersionSpec) -> str:
    return record.lineage.training_run.uid if record.lineage else ""


if __name__ == "__main__":
    termination.run(main, REASONS)
