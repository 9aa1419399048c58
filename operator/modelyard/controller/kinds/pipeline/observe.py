"""Reads what a decision about a Pipeline rests on, and makes its plans."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from modelyard.api.v1alpha1.names import LABEL_OWNER_UID, LABEL_PIPELINE, LABEL_TENANT
from modelyard.api.v1alpha1.pipeline import Pipeline
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest, ResourceType, controller_uid, name_of, namespace_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.jobreader import list_all
from modelyard.controller.kinds.observations import observation_of
from modelyard.controller.kinds.owned import OWNER_INDEX
from modelyard.controller.kinds.pipeline.decide import decide
from modelyard.controller.kinds.pipeline.observed import Observed, Run, read_run
from modelyard.controller.kinds.unreadable import first_fault, refuse

NAMESPACES: Final = ResourceType("", "v1", "namespaces", "Namespace", namespaced=False)
WATCHED_INDEX: Final = "watched"
"""Index of the store of Pipelines: those that watch a Deployment (`watched_of`)."""

_TENANT_AGE: Final = timedelta(seconds=60)


def watched_of(manifest: Manifest) -> Iterable[str]:
    """Index function of the store of Pipelines: the Deployments that are watched."""
    watched = manifest["spec"].get("triggers", {}).get("deployments", ())
    return {f"{item['namespace']}/{item['name']}" for item in watched}


def pipeline_of(run: Manifest) -> Iterable[Key]:
    """Return the Pipeline that made a TrainingRun."""
    name = run["metadata"].get("labels", {}).get(LABEL_PIPELINE)
    return (Key(Pipeline.kind, namespace_of(run), name),) if name else ()


@dataclass(frozen=True)
class Tenants:
    """The tenants of namespaces, read live and remembered for a minute.

    Attributes:
        client: the API.
        now: aware time.
    """

    client: KubeClient
    now: Callable[[], datetime]
    _known: dict[str, tuple[datetime, str | None]] = field(default_factory=dict)

    async def of(self, namespace: str) -> str | None:
        """Return the tenant of a namespace; None when it has none, or may not be read.

        Raises:
            ApiError: no answer could be had.
        """
        read, tenant = self._known.get(namespace, (None, None))
        if read is None or abs(self.now() - read) > _TENANT_AGE:
            tenant = await self._read(namespace)
            self._known[namespace] = (self.now(), tenant)
        return tenant

    async def _read(self, namespace: str) -> str | None:
        try:
            manifest = await self.client.get(NAMESPACES, "", namespace)
        except ApiError as error:
            if error.not_found or error.forbidden:
                return None
            raise
        tenant: str | None = manifest["metadata"].get("labels", {}).get(LABEL_TENANT)
        return tenant


@dataclass(frozen=True)
class Pipelines:
    """Makes plans for Pipelines, from caches alone but for a run that is about to be made.

    Attributes:
        client: the API, for what caches could be behind with.
        pipelines: with the index WATCHED_INDEX made by `watched_of`.
        runs: TrainingRuns, with the index OWNER_INDEX made by `owners_of`.
        observations: what agents saw.
        deployments: our Deployments.
        tenants: whose namespaces are.
        now: aware time.
    """

    client: KubeClient
    pipelines: Store
    runs: Store
    observations: Store
    deployments: Store
    tenants: Tenants
    now: Callable[[], datetime]

    async def plan(self, manifest: Manifest) -> Plan:
        """Return the writes of one pass over a Pipeline."""
        try:
            pipeline = Pipeline.model_validate(manifest)
        except ValidationError as error:
            return refuse(manifest, "Pipeline", first_fault(error))
        observed = await self.observe(manifest, pipeline)
        plan = decide(observed)
        if not plan.needs_runs:
            return plan
        # A run whose creation was not answered may exist without any cache knowing it.
        selector = f"{LABEL_OWNER_UID}={pipeline.metadata.uid}"
        live = await list_all(self.client, self.runs.resource, pipeline.metadata.namespace, selector)
        return decide(replace(observed, runs=_runs(pipeline, live), is_live=True))

    async def observe(self, manifest: Manifest, pipeline: Pipeline) -> Observed:
        """Read what a decision rests on."""
        watched = {(item.namespace, item.name) for item in pipeline.spec.triggers.deployments}
        found = {key: self.deployments.get(*key) for key in watched}
        return Observed(
            manifest=manifest,
            pipeline=pipeline,
            now=self.now(),
            runs=_runs(pipeline, self.runs.by_index(OWNER_INDEX, pipeline.metadata.uid)),
            observation=observation_of(self.observations, Pipeline.kind, manifest),
            zone=_zone(pipeline),
            deployments={key: deployment for key, deployment in found.items() if deployment},
            tenants=await self._tenants(pipeline),
        )

    def watchers(self, deployment: Manifest) -> Iterable[Key]:
        """Return the Pipelines that watch a Deployment."""
        name = f"{namespace_of(deployment)}/{name_of(deployment)}"
        found = self.pipelines.by_index(WATCHED_INDEX, name)
        return [Key(Pipeline.kind, namespace_of(pipeline), name_of(pipeline)) for pipeline in found]

    async def _tenants(self, pipeline: Pipeline) -> dict[str, str]:
        """Read whose the namespaces are; a Pipeline that stays in its own need not know."""
        home = pipeline.metadata.namespace
        others = {item.namespace for item in pipeline.spec.triggers.deployments} - {home}
        tenants = {name: await self.tenants.of(name) for name in (*sorted(others), *((home,) if others else ()))}
        return {name: tenant for name, tenant in tenants.items() if tenant}


def _runs(pipeline: Pipeline, manifests: Iterable[Manifest]) -> tuple[Run, ...]:
    """Return the Pipeline's own runs, newest first."""
    own = (read_run(manifest) for manifest in manifests if controller_uid(manifest) == pipeline.metadata.uid)
    return tuple(sorted(own, key=lambda run: run.number, reverse=True))


def _zone(pipeline: Pipeline) -> tzinfo | None:
    schedule = pipeline.spec.triggers.schedule
    if schedule is None:
        return None
    try:
        return ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
