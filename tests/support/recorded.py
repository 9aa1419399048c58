"""A recorded model with everything around it."""

from typing import Any

from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.api.v1alpha1.trainingrun import TrainingRun
from modelyard.lineage.documents import Subject
from modelyard.lineage.run import RunRecord
from modelyard.model.signature import Signature
from modelyard.storage.manifests import FileEntry

UID = "0b3b8f0e-5a4f-4c53-9d0a-0a5f5e6f7a81"
STORE = "s3://air/development/"


def sha(letter: str) -> str:
    return "sha256:" + letter * 64


def image(name: str, letter: str) -> str:
    return f"registry.example/{name}@{sha(letter)}"


def _output(name: str, letter: str) -> dict[str, Any]:
    return {"name": name, "uri": f"{STORE}blobs/sha256/{letter * 64}", "digest": sha(letter), "bytes": 4096}


def training_run(**spec: Any) -> TrainingRun:
    """A run of two steps that has ended well."""
    return TrainingRun.model_validate(
        {
            "metadata": {"name": "nightly", "namespace": "air", "uid": UID},
            "spec": {
                "model": "flight-delay",
                "requestedBy": "alice@example.com",
                "inputs": [{"name": "flights", "uri": "s3://air/flights/"}],
                "parameters": [{"name": "maxDepth", "value": "6"}, {"name": "note", "value": "<b>|`x`*y*\nz"}],
                "seed": 7,
                "steps": [
                    {
                        "name": "prepare",
                        "uses": "tabular/prepare@v1",
                        "inputs": ["flights"],
                        "outputs": ["features"],
                    },
                    {
                        "name": "train",
                        "image": "registry.example/train:1",
                        "command": ["python", "train.py"],
                        "inputs": ["features", "champion"],
                        "outputs": ["model"],
                    },
                ],
                "evaluation": {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize"},
                **spec,
            },
            "status": {
                "startTime": "2026-01-01T00:00:00Z",
                "inputs": [
                    {
                        "name": "flights",
                        "uri": "s3://air/flights/",
                        "digest": sha("a"),
                        "version": "v9",
                        "bytes": 1200,
                        "rows": 100,
                    }
                ],
                "steps": [
                    {
                        "name": "prepare",
                        "state": "Succeeded",
                        "image": image("trainer", "1"),
                        "startTime": "2026-01-01T00:00:01Z",
                        "completionTime": "2026-01-01T00:00:20Z",
                        "outputs": [_output("features", "b")],
                    },
                    {
                        "name": "train",
                        "state": "Succeeded",
                        "image": image("train", "2"),
                        "startTime": "2026-01-01T00:00:21Z",
                        "completionTime": "2026-01-01T00:01:00Z",
                        "outputs": [_output("model", "e")],
                    },
                    {"name": "register", "state": "Running"},
                ],
                "metrics": [{"name": "loss", "value": "0.31"}],
            },
        }
    )


def record(number: int = 7, previous: int | None = 6, **spec: Any) -> ModelVersionSpec:
    """The record of the model that `training_run` made."""
    return ModelVersionSpec.model_validate(
        {
            "model": "flight-delay",
            "version": number,
            "artifact": {
                "uri": f"{STORE}blobs/sha256/{'e' * 64}",
                "digest": sha("e"),
                "bytes": 4096,
                "schemaDigest": sha("5"),
                "datasetDigest": sha("d"),
            },
            "lineage": {
                "trainingRun": {"name": "nightly", "uid": UID, "namespace": "air"},
                "code": [
                    {"step": "prepare", "image": image("trainer", "1")},
                    {"step": "train", "image": image("train", "2")},
                ],
                "inputs": [{"name": "flights", "uri": "s3://air/flights/", "digest": sha("a"), "version": "v9"}],
                "parametersDigest": sha("9"),
                "seed": 7,
                "runDigest": RunRecord.of(training_run()).digest,
                **({"previousVersion": previous} if previous else {}),
            },
            "evaluation": {
                "metric": "rocAuc",
                "value": "0.7134",
                "low": "0.7051",
                "high": "0.7214",
                "rows": 51234,
                "datasetDigest": sha("d"),
                "champion": {"version": 6, "digest": sha("c"), "value": "0.7011"},
                "verdict": "BetterThanChampion",
                "message": "better by 0.0123",
                "metrics": [{"name": "rocAuc", "value": "0.7134"}, {"name": "logLoss", "value": "0.4012"}],
            },
            "card": {"owner": "team-air@example.com", "requestedBy": "alice@example.com"},
            **spec,
        }
    )


def signature() -> Signature:
    return Signature.model_validate(
        {
            "task": "BinaryClassification",
            "label": "late",
            "inputs": [
                {
                    "name": "distance",
                    "datatype": "FP32",
                    "shape": [-1, 1],
                    "kind": "Numeric",
                    "minimum": 80.0,
                    "maximum": 4983.0,
                    "nullable": True,
                },
                {
                    "name": "carrier",
                    "datatype": "BYTES",
                    "shape": [-1, 1],
                    "kind": "Categorical",
                    "categories": ["AA", "B6"],
                },
            ],
            "outputs": [
                {"name": "label", "datatype": "INT64", "shape": [-1]},
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2], "classes": ["0", "1"]},
            ],
        }
    )


def subject(**changes: Any) -> Subject:
    files = (FileEntry("model.onnx", "f" * 64, 4000), FileEntry("modelyard.json", "5" * 64, 96))
    parts: dict[str, Any] = {
        "record": record(),
        "run": RunRecord.of(training_run()),
        "files": files,
        "signature": signature(),
        "modelyard_version": "1.2.3",
    }
    return Subject(**{**parts, **changes})
