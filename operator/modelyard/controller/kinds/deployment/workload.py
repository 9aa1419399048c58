"""A revision's apps/v1 Deployment as it is. Pure."""

from dataclasses import dataclass
from typing import Self

from modelyard.api.v1alpha1.names import LABEL_REVISION
from modelyard.controller.engine.conditions import find_condition
from modelyard.controller.engine.manifests import Manifest, Ref, ref_of
from modelyard.controller.kinds.deployment.revision import ANNOTATION_TEMPLATE, Revision


@dataclass(frozen=True)
class Workload:
    """What the API server knows of one revision's pods."""

    id: str
    ref: Ref
    revision: Revision | None
    """None when this operator cannot rebuild it, such as one that a newer operator made."""
    template: str
    """Digest of the pod template that was applied last."""
    size: int
    """Pods that it is told to have."""
    replicas: int
    """Pods that it has."""
    updated: int
    """Pods of its newest template."""
    ready: int
    """Ready pods."""
    observed: bool
    """Does its status speak of its newest spec?"""
    stuck: bool
    """Did Kubernetes give up waiting for its pods?"""
    refused: str | None
    """Why its pods may not be created."""

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Read a live apps/v1 Deployment."""
        status = manifest.get("status", {})
        conditions = status.get("conditions", ())
        progressing = find_condition(conditions, "Progressing")
        refusal = find_condition(conditions, "ReplicaFailure")
        return cls(
            id=manifest["metadata"].get("labels", {}).get(LABEL_REVISION, ""),
            ref=ref_of(manifest),
            revision=Revision.recorded_in(manifest),
            template=manifest["metadata"].get("annotations", {}).get(ANNOTATION_TEMPLATE, ""),
            size=manifest["spec"].get("replicas", 1),
            replicas=status.get("replicas", 0),
            updated=status.get("updatedReplicas", 0),
            ready=status.get("readyReplicas", 0),
            observed=status.get("observedGeneration", 0) >= manifest["metadata"].get("generation", 0),
            stuck=progressing is not None and progressing["status"] == "False",
            refused=refusal.get("message", "") if refusal and refusal["status"] == "True" else None,
        )

    def rolled(self, size: int, template: str) -> bool:
        """Say whether there are `size` pods and all are made from `template`, given by its digest."""
        asked = self.observed and (self.size, self.template) == (size, template)
        return asked and self.updated == self.replicas == size
