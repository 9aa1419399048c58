"""Objects that the API server accepts: the smallest of each kind, and one with every field of its spec."""

import copy
from typing import Any

Object = dict[str, Any]

DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64


def merged(base: Any, changes: Any) -> Any:
    """Return `base` with a JSON merge patch applied."""
    if not isinstance(changes, dict):
        return changes
    result = copy.deepcopy(base) if isinstance(base, dict) else {}
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


_EXPRESSION: Object = {"key": "zone", "operator": "In", "values": ["a"]}
_PODS: Object = {
    "labelSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [_EXPRESSION]},
    "topologyKey": "zone",
}
_NEAR: Object = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_PODS],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": _PODS}],
}
_NODES: Object = {"matchExpressions": [_EXPRESSION]}
AFFINITY: Object = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODES]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _NODES}],
    },
    "podAffinity": _NEAR,
    "podAntiAffinity": _NEAR,
}

MINIMAL = {
    "Pipeline": _object(
        "Pipeline", "nightly", {"template": {"spec": {"model": "m", "steps": [{"name": "train", "image": "i"}]}}}
    ),
    "TrainingRun": _object("TrainingRun", "run", {"model": "m", "steps": [{"name": "train", "image": "i"}]}),
    "ModelVersion": _object(
        "ModelVersion",
        "m-v1",
        {"model": "m", "version": 1, "artifact": {"uri": "s3://bucket/models/", "digest": DIGEST}},
    ),
    "Deployment": _object("Deployment", "serve", {"model": {"name": "m", "version": 1}}),
    "Observation": _object(
        "Observation",
        "trainingrun-run",
        {
            "subject": {"kind": "TrainingRun", "name": "run", "uid": "u"},
            "observedTime": "2026-01-01T00:00:00Z",
        },
    ),
}

FULL = {
    "Pipeline": merged(
        MINIMAL["Pipeline"],
        {
            "spec": {
                "suspend": True,
                "concurrencyPolicy": "Replace",
                "successfulRunsHistoryLimit": 1,
                "failedRunsHistoryLimit": 0,
                "triggers": {
                    "spec": "Never",
                    "inputs": {"names": ["flights"], "pollSeconds": 60},
                    "schedule": {"cron": "0 3 * * MON-FRI", "timeZone": "Europe/Berlin", "startingDeadlineSeconds": 60},
                    "deployments": [
                        {"name": "m", "namespace": "a", "on": ["InputsDrifted"]},
                        {"name": "m", "namespace": "b", "on": ["AccuracyLost", "InputsDrifted"]},
                    ],
                },
                "cooldownSeconds": 60,
                "maxRunsPerDay": 4,
                "requestedBy": "alice@example.com",
                "template": {
                    "metadata": {"labels": {"team": "ops", "example.com/cost-centre": "7"}},
                    "spec": {"inputs": [{"name": "flights", "uri": "s3://bucket/flights/"}]},
                },
            }
        },
    ),
    "TrainingRun": merged(
        MINIMAL["TrainingRun"],
        {
            "spec": {
                "trigger": {
                    "reason": "DataChanged",
                    "key": "0123456789abcdef",
                    "number": 2,
                    "message": "DataChanged: input 'flights' is sha256:aaaaaaaaaaaa",
                    "evidence": [
                        {
                            "reason": "DataChanged",
                            "source": "inputs/flights",
                            "key": "a" * 16,
                            "message": "input 'flights'",
                        }
                    ],
                },
                "requestedBy": "alice@example.com",
                "inputs": [
                    {
                        "name": "flights",
                        "uri": "s3://bucket/flights/",
                        "expectations": {
                            "minimumRows": 1,
                            "maximumRows": 9,
                            "maximumMissingPercent": "5",
                            "maximumDuplicatePercent": "0.5",
                            "timeColumn": "time_hour",
                            "maximumAgeSeconds": 60,
                            "schema": "SameAsPrevious",
                            "onNewColumns": "Fail",
                            "columns": [
                                {"name": "distance", "type": "Number", "minimum": "1", "maximum": "2", "unique": True},
                                {"name": "carrier", "nullable": False, "categories": ["AA"]},
                                {"name": "visib", "maximumMissingPercent": "100"},
                            ],
                        },
                    },
                    {"name": "code", "uri": "git+https://git.example.com/air/model.git@v1.4", "digest": DIGEST},
                    {"name": "lake", "uri": "s3://bucket/lake/", "mode": "Reference"},
                ],
                "parameters": [{"name": "maxDepth", "value": "6"}],
                "seed": 7,
                "steps": [
                    {"name": "prepare", "uses": "tabular/prepare@v1", "inputs": ["flights"], "outputs": ["features"]},
                    {
                        "name": "train",
                        "image": "i",
                        "envFrom": [{"prefix": "DB_", "secretRef": {"name": "modelyard-step-db"}}],
                        "inputs": ["features", "champion"],
                        "outputs": ["model"],
                        "cache": "Never",
                        "podTemplate": {"serviceAccountName": "modelyard-step-db", "affinity": AFFINITY},
                        "numNodes": 4,
                        "checkpoint": {"intervalSeconds": 60, "gracePeriodSeconds": 30},
                        "progress": "Live",
                    },
                ],
                "evaluation": {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize"},
                "backoffLimit": 1,
                "activeDeadlineSeconds": 60,
                "ttlSecondsAfterFinished": 60,
                "suspend": True,
            }
        },
    ),
    "ModelVersion": merged(
        MINIMAL["ModelVersion"],
        {
            "spec": {
                "format": "ONNX",
                "lineage": {
                    "trainingRun": {"name": "run", "uid": "u", "namespace": "n"},
                    "parametersDigest": DIGEST,
                },
                "evaluation": {
                    "metric": "rocAuc",
                    "value": "0.71",
                    "rows": 10,
                    "datasetDigest": DIGEST,
                    "verdict": "FirstVersion",
                },
                "card": {"owner": "alice@example.com"},
                "retired": {"reason": "wrong labels"},
            }
        },
    ),
}
