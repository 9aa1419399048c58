"""The sidecar of a step that keeps checkpoints or shows its progress, and what the other containers are told. Pure."""

from collections.abc import Mapping
from typing import Final

from modelyard.api.v1alpha1.trainingrun import ProgressMode, Step
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.podspec import helper_resources, store_access
from modelyard.controller.kinds.stepjob import METRICS_FILE, WORK_DIR, Images, build_container

CHECKPOINT_DIR: Final = f"{WORK_DIR}/checkpoint"
_ENDED_FILE: Final = "/tmp/run-ended"  # noqa: S108 - in a volume that only our own containers mount
_FOLDER: Final = {"MODELYARD_CHECKPOINT_DIR": CHECKPOINT_DIR}


def fetch_variables(step: Step, identity: Mapping[str, str]) -> dict[str, str]:
    """Return what fetch is told, so that it brings the newest checkpoint back."""
    return {**identity, **_FOLDER} if step.checkpoint else {}


def run_variables(step: Step) -> dict[str, str]:
    """Return what the user's code is told."""
    return dict(_FOLDER) if step.checkpoint else {}


def publish_variables(step: Step) -> dict[str, str]:
    """Return what publish is told, so that the courier learns from it that the user's code has ended well."""
    return {"MODELYARD_ENDED_FILE": _ENDED_FILE} if step.checkpoint else {}


def grace_period(step: Step) -> int | None:
    """Return the seconds that the pod gets when it is taken away: for the last checkpoint, and for its upload."""
    return 2 * step.checkpoint.grace_period_seconds if step.checkpoint else None


def sidecars(images: Images, step: Step, identity: Mapping[str, str]) -> list[Manifest]:
    """Return the courier: a native sidecar, which is there before the user's code and is told when the pod ends."""
    if step.checkpoint is None and step.progress is ProgressMode.AT_END:
        return []
    container = build_container(
        images,
        name="courier",
        module="step_courier",
        variables={**identity, **_checkpoint(step), **_progress(step)},
        wanted=helper_resources(),
        read_only=("inputs", "workspace"),
    )
    pod = {"name": "MODELYARD_POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}
    env = [*container["env"], pod]
    return [{**container, "restartPolicy": "Always", "env": env, "envFrom": store_access()}]


def _checkpoint(step: Step) -> dict[str, str]:
    if step.checkpoint is None:
        return {}
    return {
        **_FOLDER,
        "MODELYARD_CHECKPOINT_INTERVAL_SECONDS": str(step.checkpoint.interval_seconds),
        "MODELYARD_CHECKPOINT_GRACE_SECONDS": str(step.checkpoint.grace_period_seconds),
        "MODELYARD_ENDED_FILE": _ENDED_FILE,
    }


def _progress(step: Step) -> dict[str, str]:
    return {"MODELYARD_METRICS_FILE": METRICS_FILE} if step.progress is ProgressMode.LIVE else {}
