"""All that one decision about a TrainingRun rests on. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from modelyard.api.v1alpha1.champion import champion
from modelyard.api.v1alpha1.common import Metrics
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import MODEL_OUTPUT, PROFILE_OUTPUT, REGISTER_STEP, VALIDATE_STEP
from modelyard.api.v1alpha1.observation import Observation
from modelyard.api.v1alpha1.trainingrun import (
    DONE,
    Output,
    Step,
    StepState,
    StepStatus,
    TrainingRun,
    TrainingRunStatus,
)
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.attempts import Attempt, attempts_of
from modelyard.controller.kinds.pods import Problem
from modelyard.controller.kinds.stepjob import Images


@dataclass(frozen=True)
class ModelLine:
    """A model line, read live while this run alone may write to it."""

    versions: tuple[ModelVersion, ...]
    counter: Manifest | None
    """The ConfigMap of version numbers, None before the first."""


@dataclass(frozen=True)
class EarlierStep:
    """A step of another run of the model that is done."""

    run: str
    """Name of that run."""
    status: StepStatus
    metrics: Metrics = ()
    """What the step reported."""
    version_name: str | None = None
    """The ModelVersion of that run."""


@dataclass(frozen=True)
class Earlier:
    """All steps of one identity that other runs of the model have done; may be behind."""

    identity: str
    steps: tuple[EarlierStep, ...]


@dataclass(frozen=True)
class Observed:
    """What was read, once, for one pass."""

    manifest: Manifest
    """The run as it is stored."""
    run: TrainingRun
    """The same, typed."""
    images: Images
    now: datetime
    jobs: tuple[Manifest, ...] = ()
    """The Jobs that belong to the run."""
    pods: tuple[Manifest, ...] = ()
    """Their pods."""
    services: tuple[Manifest, ...] = ()
    """The Services that belong to the run."""
    refusals: Mapping[str, Problem] = field(default_factory=dict)
    """By Job, why its pods may not be created."""
    observation: Observation | None = None
    """What the agent saw of this very run."""
    cached_versions: tuple[ModelVersion, ...] = ()
    """The ModelVersions of the run's model in its namespace; may be behind."""
    previous_profile: Output | None = None
    """The profile of the inputs of the newest other run of the model that succeeded and has one."""
    line: ModelLine | None = None
    """Set in a pass that asked for it."""
    earlier: Earlier | None = None
    """Set in a pass that asked for this identity."""

    @cached_property
    def attempts(self) -> dict[str, tuple[Attempt, ...]]:
        """The attempts of each step, oldest first."""
        return attempts_of(self.jobs, self.pods, self.refusals)

    @property
    def is_queued(self) -> bool:
        """Does a Job wait in its queue?"""
        return any(attempts[-1].is_queued for attempts in self.attempts.values())

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """The versions of the model, as new as they are known."""
        return self.line.versions if self.line else self.cached_versions

    @property
    def champion(self) -> ModelVersion | None:
        """The champion of the model."""
        return champion(self.versions, self.run.spec.model)

    @property
    def published(self) -> ModelVersion | None:
        """The version that this run made."""
        return next((v for v in self.versions if made_by(v, self.run.metadata.uid)), None)

    @property
    def step_names(self) -> tuple[str, ...]:
        """All steps, in order, with those that Modelyard adds."""
        steps = self.run.spec.steps
        validates = any(item.expectations is not None for item in self.run.spec.inputs)
        makes_model = any(MODEL_OUTPUT in step.outputs for step in steps)
        return (
            *((VALIDATE_STEP,) if validates else ()),
            *(step.name for step in steps),
            *((REGISTER_STEP,) if makes_model else ()),
        )

    def asked(self, step: str) -> Step | None:
        """Return what the spec says of a step; None of one that Modelyard adds."""
        return next((asked for asked in self.run.spec.steps if asked.name == step), None)

    def recorded(self, step: str) -> StepStatus:
        """Return what status says of a step; a success that does not name every output is none."""
        waiting = StepStatus(name=step, state=StepState.WAITING)
        known = next((status for status in self.run.status.steps if status.name == step), waiting)
        is_whole = known.state not in DONE or {o.name for o in known.outputs} >= self.wanted(step)
        return known if is_whole else waiting.model_copy(update={"attempt": known.attempt})

    def wanted(self, step: str) -> set[str]:
        """Return the names of the outputs that a step must publish."""
        asked = self.asked(step)
        return {PROFILE_OUTPUT} if step == VALIDATE_STEP else set(asked.outputs if asked else ())

    def with_status(self, status: TrainingRunStatus) -> "Observed":
        """Return what was read, as if status had said this already."""
        return replace(self, run=self.run.model_copy(update={"status": status}))

    def seconds_since(self, time: str) -> float:
        """Return the seconds that went by since a time of status."""
        return (self.now - datetime.fromisoformat(time)).total_seconds()


def made_by(version: ModelVersion, run_uid: str) -> bool:
    """Say whether a run made a version."""
    lineage = version.spec.lineage
    return lineage is not None and lineage.training_run.uid == run_uid
