"""Reads what a decision about a Deployment rests on, and makes its plans."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from modelyard.api.v1alpha1.deployment import Deployment
from modelyard.api.v1alpha1.names import LABEL_DEPLOYMENT
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.manifests import Manifest, name_of, namespace_of, owner_uid_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.deployment.decide import decide
from modelyard.controller.kinds.deployment.observed import Observed
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, line, lines_of, read_versions
from modelyard.controller.kinds.owned import OWNER_INDEX
from modelyard.controller.kinds.unreadable import first_fault, refuse

MODEL_INDEX: Final = "model"
"""Index of the store of Deployments: those that name a model (`models_of`)."""


def models_of(manifest: Manifest) -> Iterable[str]:
    """Index function of the store of Deployments: the model lines that the spec and what serves are of."""
    asked, served = manifest["spec"]["model"], manifest.get("status", {}).get("model")
    return {line(namespace_of(manifest), model["name"]) for model in (asked, served) if model}


def deployment_of(child: Manifest) -> Iterable[Key]:
    """Return the Deployment that a workload, a pod or a Service belongs to."""
    name = child["metadata"].get("labels", {}).get(LABEL_DEPLOYMENT)
    return (Key(Deployment.kind, namespace_of(child), name),) if name else ()


@dataclass(frozen=True)
class Deployments:
    """Makes plans for Deployments from caches alone.

    Attributes:
        deployments: with the index MODEL_INDEX made by `models_of`.
        versions: ModelVersions, with the index LINE_INDEX made by `lines_of`.
        workloads: apps/v1 Deployments, with the index OWNER_INDEX made by `owners_of`.
        pods: with the same index.
        services: those that Modelyard manages.
        server_image: the operator's model server image.
        pull_policy: its imagePullPolicy.
        now: aware time.
    """

    deployments: Store
    versions: Store
    workloads: Store
    pods: Store
    services: Store
    server_image: str
    pull_policy: str
    now: Callable[[], datetime]

    async def plan(self, manifest: Manifest) -> Plan:
        """Return the writes of one pass over a Deployment."""
        try:
            deployment = Deployment.model_validate(manifest)
        except ValidationError as error:
            return refuse(manifest, "Deployment", first_fault(error))
        return decide(self.observe(deployment))

    def observe(self, deployment: Deployment) -> Observed:
        """Read what a decision rests on."""
        namespace, uid = deployment.metadata.namespace, deployment.metadata.uid
        served = deployment.status.model
        models = {
            deployment.spec.model.name,
            *((served.name,) if served else ()),
            *(entry.name for entry in deployment.status.history),
        }
        versions = (self.versions.by_index(LINE_INDEX, line(namespace, model)) for model in sorted(models))
        service = self.services.get(namespace, deployment.metadata.name)
        return Observed(
            deployment=deployment,
            versions=read_versions(version for group in versions for version in group),
            children=tuple(self.workloads.by_index(OWNER_INDEX, uid)),
            service=service if service and owner_uid_of(service) == uid else None,
            pods=tuple(self.pods.by_index(OWNER_INDEX, uid)),
            server_image=self.server_image,
            pull_policy=self.pull_policy,
            now=self.now(),
        )

    def followers(self, version: Manifest) -> Iterable[Key]:
        """Return the Deployments that name the model of a ModelVersion."""
        found = (d for lines in lines_of(version) for d in self.deployments.by_index(MODEL_INDEX, lines))
        return [Key(Deployment.kind, namespace_of(deployment), name_of(deployment)) for deployment in found]
