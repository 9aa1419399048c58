"""Reads what a decision about a TrainingRun rests on, and makes its plans."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from modelyard.api.v1alpha1.names import (
    LABEL_ATTEMPT,
    LABEL_OWNER_UID,
    LABEL_STEP,
    LABEL_TRAINING_RUN,
    VERSIONS_CONFIG_MAP,
)
from modelyard.api.v1alpha1.trainingrun import StepState, StepStatus, TrainingRun
from modelyard.controller.engine.events import EVENTS
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest, ResourceType, name_of, namespace_of, uid_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, line, read_versions
from modelyard.controller.kinds.observations import observation_of
from modelyard.controller.kinds.owned import OWNER_INDEX, owners_of
from modelyard.controller.kinds.pods import Problem, diagnose_creation
from modelyard.controller.kinds.trainingrun.attempts import Attempt, AttemptState
from modelyard.controller.kinds.trainingrun.decide import RunPlan, decide, is_finished, refuse
from modelyard.controller.kinds.trainingrun.observed import Images, ModelLine, Observed

CONFIG_MAPS: Final = ResourceType("", "v1", "configmaps", "ConfigMap")

Execute = Callable[[Manifest, Plan], Awaitable[float | None]]


def runs_of(manifest: Manifest) -> Iterable[Key]:
    """Return the run that a Job or a pod belongs to."""
    name = manifest["metadata"].get("labels", {}).get(LABEL_TRAINING_RUN)
    return (Key(TrainingRun.kind, namespace_of(manifest), name),) if name else ()


def maker_of(version: Manifest) -> Iterable[Key]:
    """Return the run that made a ModelVersion."""
    run = version["spec"].get("lineage", {}).get("trainingRun")
    return (Key(TrainingRun.kind, namespace_of(version), run["name"]),) if run else ()


@dataclass(frozen=True)
class TrainingRuns:
    """Makes plans for TrainingRuns.

    Attributes:
        client: the API, for what caches could be behind with.
        jobs: with the index OWNER_INDEX made by `owners_of`.
        pods: with the same index.
        versions: ModelVersions, with the index LINE_INDEX made by `lines_of`.
        observations: what agents saw.
        images: what steps run.
        execute: carries out a plan; used where a write must follow a read before any other run's.
        now: aware time.
    """

    client: KubeClient
    jobs: Store
    pods: Store
    versions: Store
    observations: Store
    images: Images
    execute: Execute
    now: Callable[[], datetime]
    _lines: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def plan(self, manifest: Manifest) -> Plan:
        """Return the writes of one pass over a TrainingRun."""
        try:
            run = TrainingRun.model_validate(manifest)
        except ValidationError as error:
            first = error.errors()[0]
            return refuse(manifest, f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}")
        observed = await self.observe(manifest, run)
        plan = decide(observed)
        return await self._plan_line(observed) if plan.needs_line else plan

    async def _plan_line(self, observed: Observed) -> Plan:
        """Decide with the model line read live, and write before any other run of the namespace reads it.

        Number and verdict rest on what other runs of the model did. This replica is the only one that writes, so a lock
        in the process is enough; the counter's resourceVersion guards against a predecessor that has not died yet.
        """
        async with self._lines[observed.run.metadata.namespace]:
            plan = decide(replace(observed, line=await self._read_line(observed.run)))
            return RunPlan(requeue_after=await self.execute(observed.manifest, plan))

    async def observe(self, manifest: Manifest, run: TrainingRun) -> Observed:
        """Read what a decision rests on: the caches, and live what they may be behind with."""
        observed = Observed(
            manifest=manifest,
            run=run,
            images=self.images,
            now=self.now(),
            jobs=tuple(self.jobs.by_index(OWNER_INDEX, run.metadata.uid)),
            pods=tuple(self.pods.by_index(OWNER_INDEX, run.metadata.uid)),
            observation=observation_of(self.observations, TrainingRun.kind, manifest),
            cached_versions=read_versions(
                self.versions.by_index(LINE_INDEX, line(run.metadata.namespace, run.spec.model))
            ),
        )
        if is_finished(run):
            return observed
        observed = await self._with_missing_jobs(observed)
        for attempts in tuple(observed.attempts.values()):
            observed = await self._with_end(observed, attempts[-1])
        return replace(observed, refusals=await self._refusals(observed))

    async def _with_missing_jobs(self, observed: Observed) -> Observed:
        """Look again for Jobs that status knows: a cache may be behind, and a lost Job ends the attempt."""
        known = {name_of(job) for job in observed.jobs}
        running = [s for s in observed.run.status.steps if s.state is StepState.RUNNING and s.job_name not in known]
        found = [await self._find_job(observed, step) for step in running]
        return replace(observed, jobs=(*observed.jobs, *(job for job in found if job)))

    async def _find_job(self, observed: Observed, step: StepStatus) -> Manifest | None:
        job = await self._get(self.jobs.resource, observed.run.metadata.namespace, step.job_name or "")
        return job if job and observed.run.metadata.uid in owners_of(job) else None

    async def _with_end(self, observed: Observed, attempt: Attempt) -> Observed:
        """Read live the pods of an attempt whose end is not recorded yet: pods are cached apart from their Jobs."""
        recorded = observed.recorded(attempt.step)
        is_recorded = recorded.attempt == attempt.number and recorded.state in {StepState.SUCCEEDED, StepState.FAILED}
        if attempt.state is AttemptState.ACTIVE or is_recorded:
            return observed
        labels = {LABEL_OWNER_UID: observed.run.metadata.uid, LABEL_STEP: attempt.step, LABEL_ATTEMPT: attempt.number}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        live = await self._list(self.pods.resource, observed.run.metadata.namespace, selector)
        uids = {uid_of(pod) for pod in live}
        return replace(observed, pods=(*(pod for pod in observed.pods if uid_of(pod) not in uids), *live))

    async def _refusals(self, observed: Observed) -> dict[str, Problem]:
        """Ask why Jobs have no pods although they were told to some seconds ago."""
        podless = [a for attempts in observed.attempts.values() for a in attempts if a.lacks_pods(observed.now)]
        found = {attempt.job: diagnose_creation(await self._events_about(attempt.manifest)) for attempt in podless}
        return {job: problem for job, problem in found.items() if problem}

    async def _events_about(self, manifest: Manifest) -> list[Manifest]:
        events = await self._list(EVENTS, namespace_of(manifest))
        return [event for event in events if event["involvedObject"].get("uid") == uid_of(manifest)]

    async def _read_line(self, run: TrainingRun) -> ModelLine:
        namespace = run.metadata.namespace
        stored = await self._list(self.versions.resource, namespace)
        versions = read_versions(version for version in stored if version["spec"]["model"] == run.spec.model)
        return ModelLine(versions, await self._get(CONFIG_MAPS, namespace, VERSIONS_CONFIG_MAP))

    async def _get(self, resource: ResourceType, namespace: str, name: str) -> Manifest | None:
        try:
            return await self.client.get(resource, namespace, name)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def _list(self, resource: ResourceType, namespace: str, label_selector: str = "") -> list[Manifest]:
        pages = self.client.list_pages(resource, namespace, label_selector=label_selector)
        return [item async for page in pages for item in page.items]
