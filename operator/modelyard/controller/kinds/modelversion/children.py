"""The Job that converts a Pickle: fetch, convert without a store, publish (docs/contracts.md). Pure."""

from typing import Final

from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import (
    CONVERT_STEP,
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_MODEL,
    LABEL_OWNER_UID,
    LABEL_PART_OF,
    LABEL_STEP,
    LABEL_VERSION,
    MANAGED_BY,
    MODEL_OUTPUT,
    conversion_job_name,
)
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.podspec import INPUTS_DIR
from modelyard.controller.kinds.stepjob import (
    METRICS_FILE,
    OUTPUTS_DIR,
    Images,
    build_container,
    build_fetch,
    build_job,
    build_publish,
    identity,
)
from modelyard.handover import named_source

COMPONENT: Final = "conversion"
DEADLINE_SECONDS: Final = 1800
_KEPT_SECONDS: Final = 86_400
"""How long a failed Job is kept for its logs."""
_RESOURCES: Final = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}}


def build_conversion_job(manifest: Manifest, version: ModelVersion, images: Images, attempt: int) -> Manifest:
    """Return the Job of one attempt.

    Args:
        manifest: the version as it is stored.
        version: the same, typed.
        images: what is run.
        attempt: its number, from 1.
    """
    metadata, spec = version.metadata, version.spec
    labels = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: MANAGED_BY,
        LABEL_COMPONENT: COMPONENT,
        LABEL_OWNER_UID: metadata.uid,
        LABEL_MODEL: spec.model,
        LABEL_VERSION: str(spec.version),
        LABEL_STEP: CONVERT_STEP,
        LABEL_ATTEMPT: str(attempt),
    }
    convert = build_container(
        images,
        name=CONVERT_STEP,
        module="convert",
        variables={
            "MODELYARD_INPUTS_DIR": INPUTS_DIR,
            "MODELYARD_OUTPUTS_DIR": OUTPUTS_DIR,
            "MODELYARD_METRICS_FILE": METRICS_FILE,
        },
        wanted=_RESOURCES,
        read_only=("inputs",),
    )
    artifact = named_source(MODEL_OUTPUT, spec.artifact)
    return build_job(
        manifest,
        name=conversion_job_name(metadata.name, attempt),
        labels=labels,
        init_containers=[build_fetch(images, [artifact], [MODEL_OUTPUT]), convert],
        container=build_publish(images, identity(metadata.uid, CONVERT_STEP, attempt), [MODEL_OUTPUT]),
        deadline=DEADLINE_SECONDS,
        ttl=_KEPT_SECONDS,
    )
