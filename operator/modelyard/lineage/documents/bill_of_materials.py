"""`bom.json`: a CycloneDX 1.6 bill of materials of a model, with its model card."""

import uuid
from typing import Any, Final

from modelyard.api.v1alpha1.modelversion import Evaluation
from modelyard.lineage.documents.subject import Subject, hexadecimal, image_digest, to_text
from modelyard.model.signature import InputTensor, OutputTensor

SPECIFICATION: Final = "1.6"
_MODEL: Final = "model"
_JUDGED: Final = "data:judged-rows"


def render(subject: Subject) -> str:
    """Return the bill: the model, what it was trained and judged on, the images that made it, and its files."""
    data, images, files = _data(subject), _images(subject), _files(subject)
    parts = [*data, *images, *files]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"{subject.record.artifact.uri}#{subject.name}")
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            **({"timestamp": subject.end_time} if subject.end_time else {}),
            "tools": {
                "components": [{"type": "application", "name": "modelyard", "version": subject.modelyard_version}]
            },
            "component": _model(subject, data),
        },
        "components": parts,
        "dependencies": [{"ref": _MODEL, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return to_text(document)


def _model(subject: Subject, data: list[dict[str, Any]]) -> dict[str, Any]:
    record = subject.record
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": record.model,
        "version": str(record.version),
        "hashes": [_sha256(record.artifact.digest)],
        "externalReferences": [{"type": "distribution", "url": record.artifact.uri}],
        "modelCard": _card(subject, data),
        "properties": _properties(subject),
    }
    if record.card.owner:
        component["authors"] = [{"name": record.card.owner}]
    return component


def _properties(subject: Subject) -> list[dict[str, str]]:
    parameters = sorted(subject.run.parameters.items())
    return [
        {"name": "modelyard:trainingRun", "value": f"{subject.run.namespace}/{subject.run.name}"},
        {"name": "modelyard:seed", "value": str(subject.run.spec.seed)},
        *({"name": f"modelyard:parameter:{name}", "value": value} for name, value in parameters),
    ]


def _card(subject: Subject, data: list[dict[str, Any]]) -> dict[str, Any]:
    signature, evaluation = subject.signature, subject.record.evaluation
    card: dict[str, Any] = {
        "modelParameters": {
            **({"approach": {"type": "supervised"}} if signature.label else {}),
            "task": signature.task.value,
            "datasets": [{"ref": part["bom-ref"]} for part in data],
            "inputs": [{"format": _format(tensor)} for tensor in signature.inputs],
            "outputs": [{"format": _format(tensor)} for tensor in signature.outputs],
        }
    }
    if evaluation:
        card["quantitativeAnalysis"] = {"performanceMetrics": _performance(evaluation)}
    return card


def _format(tensor: InputTensor | OutputTensor) -> str:
    return f"{tensor.name}: {tensor.datatype.value}{list(tensor.shape)}"


def _performance(evaluation: Evaluation) -> list[dict[str, Any]]:
    deciding = str(evaluation.metric)
    found: list[dict[str, Any]] = []
    if evaluation.value:
        metric: dict[str, Any] = {"type": deciding, "value": evaluation.value}
        if evaluation.low and evaluation.high:
            metric["confidenceInterval"] = {"lowerBound": evaluation.low, "upperBound": evaluation.high}
        found.append(metric)
    return [
        *found,
        *({"type": item.name, "value": item.value} for item in evaluation.metrics if item.name != deciding),
    ]


def _data(subject: Subject) -> list[dict[str, Any]]:
    found = [
        {
            "type": "data",
            "bom-ref": f"data:{item.name}",
            "name": item.name,
            **({"version": item.version} if item.version else {}),
            "hashes": [_sha256(item.digest)],
            "data": [{"type": "dataset", "name": item.name, "contents": {"url": item.uri}}],
        }
        for item in subject.run.inputs
    ]
    evaluation = subject.record.evaluation
    if evaluation and evaluation.dataset_digest:
        judged = {"type": "dataset", "name": "judged rows"}
        digest = _sha256(evaluation.dataset_digest)
        found.append({"type": "data", "bom-ref": _JUDGED, "name": "judged rows", "hashes": [digest], "data": [judged]})
    return found


def _images(subject: Subject) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for image in (step.image for step in subject.run.steps if step.image):
        digest = image_digest(image)
        hashes = {"hashes": [_sha256(digest)]} if digest else {}
        found[image] = {"type": "container", "bom-ref": f"image:{image}", "name": image, **hashes}
    return list(found.values())


def _files(subject: Subject) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "bom-ref": f"file:{file.path}",
            "name": file.path,
            "hashes": [_sha256(file.sha256)],
        }
        for file in subject.files
    ]


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hexadecimal(digest)}
