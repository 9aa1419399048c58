"""What a Pipeline makes: TrainingRuns. Pure."""

from typing import Any

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.names import (
    ANNOTATION_TEMPLATE_DIGEST,
    API_VERSION,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_MODEL,
    LABEL_PART_OF,
    LABEL_PIPELINE,
    MANAGED_BY,
    pipeline_run_name,
)
from modelyard.api.v1alpha1.trainingrun import RunTrigger, TrainingRun
from modelyard.controller.engine.manifests import Manifest, adopt
from modelyard.controller.kinds.pipeline.observed import Observed
from modelyard.controller.kinds.pipeline.triggers import template_digest


def build_run(observed: Observed, trigger: RunTrigger) -> Manifest:
    """Return the TrainingRun for a trigger. Its spec is the template as it is stored, with fields of any version."""
    pipeline = observed.pipeline
    template = pipeline.spec.template
    spec: dict[str, Any] = {
        **observed.manifest["spec"]["template"]["spec"],
        "trigger": as_json(trigger),
    }
    if pipeline.spec.requested_by:
        spec["requestedBy"] = pipeline.spec.requested_by
    labels = {
        **(template.metadata.labels or {}),
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: MANAGED_BY,
        LABEL_COMPONENT: "training",
        LABEL_PIPELINE: pipeline.metadata.name,
        LABEL_MODEL: template.spec.model,
    }
    manifest = {
        "apiVersion": API_VERSION,
        "kind": TrainingRun.kind,
        "metadata": {
            "name": pipeline_run_name(pipeline.metadata.name, trigger.key),
            "namespace": pipeline.metadata.namespace,
            "labels": labels,
            "annotations": {ANNOTATION_TEMPLATE_DIGEST: template_digest(template.spec)},
        },
        "spec": spec,
    }
    return adopt(manifest, observed.manifest)
