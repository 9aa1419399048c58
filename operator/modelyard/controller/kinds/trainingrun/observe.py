"""Reads what a decision about a TrainingRun rests on, and makes its plans."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from modelyard.api.v1alpha1.names import (
    LABEL_TRAINING_RUN,
    VALIDATE_STEP,
    VERSIONS_CONFIG_MAP,
)
from modelyard.api.v1alpha1.trainingrun import StepState, StepStatus, TrainingRun
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.kube import KubeClient
from modelyard.controller.engine.manifests import Manifest, ResourceType, namespace_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.attempts import Attempt
from modelyard.controller.kinds.jobreader import JobReader, get_or_none, list_all
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, line, read_versions
from modelyard.controller.kinds.observations import observation_of
from modelyard.controller.kinds.owned import OWNER_INDEX
from modelyard.controller.kinds.stepjob import Images
from modelyard.controller.kinds.trainingrun.decide import RunPlan, decide, is_finished, refuse
from modelyard.controller.kinds.trainingrun.earlier import earlier_steps
from modelyard.controller.kinds.trainingrun.observed import ModelLine, Observed
from modelyard.controller.kinds.trainingrun.previous import previous_profile
from modelyard.controller.kinds.trainingrun.progress import STARTED
from modelyard.controller.kinds.unreadable import first_fault

CONFIG_MAPS: Final = ResourceType("", "v1", "configmaps", "ConfigMap")

Execute = Callable[[Manifest, Plan], Awaitable[float | None]]


def runs_of(manifest: Manifest) -> Iterable[Key]:
    """Return the run that a Job, a pod or a Service belongs to."""
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
        runs: TrainingRuns, with the indices IDENTITY_INDEX made by `identities_of` and LINE_INDEX made by `lines_of`.
        jobs: with the index OWNER_INDEX made by `owners_of`.
        pods: with the same index.
        services: with the same index.
        versions: ModelVersions, with the index LINE_INDEX made by `lines_of`.
        observations: what agents saw.
        images: what steps run.
        execute: carries out a plan; used where a write must follow a read before any other run's.
        now: aware time.
    """

    client: KubeClient
    runs: Store
    jobs: Store
    pods: Store
    services: Store
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
            return refuse(manifest, first_fault(error))
        observed = await self.observe(manifest, run)
        plan = self._decide(observed)
        return await self._plan_line(observed) if plan.needs_line else plan

    def _decide(self, observed: Observed) -> RunPlan:
        """Decide, with the earlier steps of the identity that the next step turns out to have."""
        plan = decide(observed)
        if plan.needs_earlier is None:
            return plan
        return decide(replace(observed, earlier=earlier_steps(self.runs, observed.run, plan.needs_earlier)))

    async def _plan_line(self, observed: Observed) -> Plan:
        """Decide with the model line read live, and write before any other run of the namespace reads it.

        Number and verdict rest on what other runs of the model did. This replica is the only one that writes, so a lock
        in the process is enough; the counter's resourceVersion guards against a predecessor that has not died yet.
        """
        async with self._lines[observed.run.metadata.namespace]:
            plan = self._decide(replace(observed, line=await self._read_line(observed.run)))
            return RunPlan(requeue_after=await self.execute(observed.manifest, plan))

    async def observe(self, manifest: Manifest, run: TrainingRun) -> Observed:
        """Read what a decision rests on: the caches, and live what they may be behind with."""
        reader = JobReader(self.client, self.jobs, self.pods)
        cached = reader.cached(run.metadata.uid)
        observed = Observed(
            manifest=manifest,
            run=run,
            images=self.images,
            now=self.now(),
            jobs=cached.jobs,
            pods=cached.pods,
            services=tuple(self.services.by_index(OWNER_INDEX, run.metadata.uid)),
            observation=observation_of(self.observations, TrainingRun.kind, manifest),
            cached_versions=read_versions(
                self.versions.by_index(LINE_INDEX, line(run.metadata.namespace, run.spec.model))
            ),
        )
        if is_finished(run):
            return observed
        found = await reader.read(
            run.metadata.namespace,
            run.metadata.uid,
            observed.now,
            running=[s.job_name for s in run.status.steps if s.state in STARTED and s.job_name],
            is_recorded=lambda attempt: _is_recorded(observed.recorded(attempt.step), attempt),
        )
        observed = replace(observed, jobs=found.jobs, pods=found.pods, refusals=found.refusals)
        if _is_to_validate(observed):
            runs = self.runs.by_index(LINE_INDEX, line(run.metadata.namespace, run.spec.model))
            return replace(observed, previous_profile=previous_profile(runs, run.metadata.uid))
        return observed

    async def _read_line(self, run: TrainingRun) -> ModelLine:
        namespace = run.metadata.namespace
        stored = await list_all(self.client, self.versions.resource, namespace)
        versions = read_versions(version for version in stored if version["spec"]["model"] == run.spec.model)
        return ModelLine(versions, await get_or_none(self.client, CONFIG_MAPS, namespace, VERSIONS_CONFIG_MAP))


def _is_to_validate(observed: Observed) -> bool:
    step = observed.recorded(VALIDATE_STEP)
    return VALIDATE_STEP in observed.step_names and step.state in {StepState.WAITING, StepState.FAILED}


def _is_recorded(step: StepStatus, attempt: Attempt) -> bool:
    return step.attempt == attempt.number and step.state in {StepState.SUCCEEDED, StepState.FAILED}
