"""Finding what belongs to one of our objects: its children, and the pods that its children's controllers make."""

from collections.abc import Iterable
from typing import Final

from modelyard.api.v1alpha1.names import LABEL_OWNER_UID
from modelyard.controller.engine.manifests import Manifest

OWNER_INDEX: Final = "owner"
"""Index of the stores of children and pods: those of one object (`owners_of`)."""


def owners_of(child: Manifest) -> Iterable[str]:
    """Index function. The label says whose it is; a pod's ownerReference names only its Job or ReplicaSet."""
    uid = child["metadata"].get("labels", {}).get(LABEL_OWNER_UID)
    return (uid,) if uid else ()
