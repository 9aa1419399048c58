"""What a model server's pod has when its predictions are logged: a spool and the sidecar that empties it. Pure."""

from typing import Any, Final

from modelyard.api.canonical import compact_json
from modelyard.api.v1alpha1.deployment import Deployment
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds import podspec
from modelyard.controller.kinds.deployment.revision import Revision

DELIVERY_SECONDS: Final = 25
"""What the courier gets after the server has ended."""

_VOLUME: Final = "predictions"
_FOLDER: Final = "/modelyard/predictions"
_VOLUME_SIZE: Final = "256Mi"
"""The server stops at half of it: a volume that is too large is the end of its pod."""


def logs_predictions(owner: Deployment) -> bool:
    """Say whether predictions are logged."""
    return owner.spec.monitoring.prediction_log is not None


def server_variables(owner: Deployment) -> dict[str, str]:
    """Return what the server is told."""
    log = owner.spec.monitoring.prediction_log
    if log is None:
        return {}
    return {
        "MODELYARD_PREDICTION_LOG_DIR": _FOLDER,
        "MODELYARD_PREDICTION_LOG_PERCENT": str(log.sample_percent),
        "MODELYARD_PREDICTION_LOG_COLUMNS": compact_json(list(log.columns)),
    }


def server_mounts(owner: Deployment) -> list[dict[str, Any]]:
    """Return what the server mounts."""
    return [_mount()] if logs_predictions(owner) else []


def volumes(owner: Deployment) -> list[dict[str, Any]]:
    """Return the volume of the spool."""
    return [{"name": _VOLUME, "emptyDir": {"sizeLimit": _VOLUME_SIZE}}] if logs_predictions(owner) else []


def sidecars(owner: Deployment, revision: Revision, pull_policy: str) -> list[Manifest]:
    """Return the courier: a native sidecar, so that Kubernetes ends it after the server."""
    if not logs_predictions(owner):
        return []
    variables = {
        "MODELYARD_PREDICTION_LOG_DIR": _FOLDER,
        "MODELYARD_DEPLOYMENT": owner.metadata.name,
        "MODELYARD_MODEL_VERSION": str(revision.version),
    }
    pod = {"name": "MODELYARD_POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}
    courier = {
        "name": "courier",
        "image": revision.image,
        "imagePullPolicy": pull_policy,
        "restartPolicy": "Always",
        "command": ["python", "-m", "modelyard.steps.courier"],
        "env": [*podspec.environment(variables), pod],
        "envFrom": podspec.store_access(),
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "192Mi"}},
        "securityContext": podspec.container_security(read_only_root=True),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_mount()],
    }
    return [courier]


def _mount() -> dict[str, str]:
    return {"name": _VOLUME, "mountPath": _FOLDER}
