"""All that one decision about a Deployment rests on. Pure data."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from modelyard.api.v1alpha1.deployment import Deployment
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import LABEL_REVISION
from modelyard.controller.engine.manifests import Manifest, digest_of
from modelyard.controller.kinds.deployment.children import build_pod
from modelyard.controller.kinds.deployment.revision import Revision
from modelyard.controller.kinds.deployment.workload import Workload


@dataclass(frozen=True)
class Observed:
    """What was read, once, for one pass."""

    deployment: Deployment
    versions: tuple[ModelVersion, ...]
    """The versions of the models that the Deployment names, in its spec and in its past."""
    children: tuple[Manifest, ...]
    """The apps/v1 Deployments that belong to this one."""
    service: Manifest | None
    """The Service of its name, when it belongs to this Deployment."""
    pods: tuple[Manifest, ...]
    """Pods of its revisions."""
    server_image: str
    """The operator's model server image."""
    pull_policy: str
    """imagePullPolicy of the model server's image."""
    now: datetime

    @cached_property
    def workloads(self) -> dict[str, Workload]:
        """The children, by revision."""
        return {workload.id: workload for workload in map(Workload.of, self.children)}

    @property
    def size(self) -> int:
        """Pods that a revision needs to carry all traffic."""
        return self.deployment.spec.endpoint.replicas

    def pods_of(self, revision: str) -> Iterator[Manifest]:
        """Yield the pods of a revision that are not on their way out."""
        for pod in self.pods:
            metadata = pod["metadata"]
            if metadata.get("labels", {}).get(LABEL_REVISION) == revision and "deletionTimestamp" not in metadata:
                yield pod

    def is_rolled(self, revision: Revision) -> bool:
        """Say whether all pods of a revision are there and as the spec has them now, ready or not."""
        workload = self.workloads.get(revision.id)
        template = digest_of(build_pod(self.deployment, revision, self.pull_policy))
        return workload is not None and workload.rolled(self.size, template)

    def ready(self, revision: str) -> int:
        """Return the number of ready pods of a revision."""
        workload = self.workloads.get(revision)
        return workload.ready if workload else 0
