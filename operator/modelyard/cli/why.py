"""Why is it not ready? Pure: from objects to the one thing that blocks, who can lift it, and how it got there."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelyard.api.v1alpha1 import Deployment, ModelVersion, Pipeline, TrainingRun
from modelyard.api.v1alpha1.common import Condition, ConditionStatus
from modelyard.api.v1alpha1.modelversion import Format
from modelyard.api.v1alpha1.pipeline import RunResult
from modelyard.api.v1alpha1.trainingrun import StepState


class Mark(StrEnum):
    """How one line of an explanation stands."""

    DONE = "✔"
    ACTIVE = "…"
    BLOCKED = "✘"
    PENDING = "·"


@dataclass(frozen=True)
class Line:
    """One station on the way of an object."""

    mark: Mark
    text: str


@dataclass(frozen=True)
class Explanation:
    """The way of an object, and what stops it."""

    lines: tuple[Line, ...]
    blocker: str | None
    who: str | None

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        if self.blocker is None:
            return "Nothing blocks it."
        return f"{self.blocker}" + (f" — {self.who}" if self.who else "")


PLATFORM = "the platform team of this namespace can lift it"
DATA = "whoever owns the data or the store can lift it"
AUTHOR = "the author of the object can lift it"
CLUSTER = "whoever runs the cluster can lift it"
TIME = "it goes on by itself"

WHO = {
    "NoAgent": PLATFORM,
    "SecretMissing": PLATFORM,
    "ConfigurationMissing": PLATFORM,
    "AccessDenied": PLATFORM,
    "PodRefused": PLATFORM,
    "TenantMismatch": PLATFORM,
    "StoreUnreachable": DATA,
    "InputNotFound": DATA,
    "RefNotFound": DATA,
    "InputChanging": DATA,
    "DigestMismatch": DATA,
    "DataInvalid": DATA,
    "ArtifactMissing": DATA,
    "ArtifactCorrupt": DATA,
    "ArtifactUnreachable": DATA,
    "ArtifactUnavailable": DATA,
    "Unschedulable": CLUSTER,
    "Queued": CLUSTER,
    "Suspended": AUTHOR,
    "Paused": AUTHOR,
    "Running": TIME,
    "Resolving": TIME,
    "Observing": TIME,
    "Verifying": TIME,
    "Progressing": TIME,
    "Converting": TIME,
    "ChampionMoved": TIME,
    "Preempted": TIME,
    "Drained": TIME,
    "NodeLost": TIME,
    "PodDeleted": TIME,
}


def why_pipeline(pipeline: Pipeline) -> Explanation:
    """Explain a Pipeline: its triggers, its newest runs, and what was skipped."""
    status = pipeline.status
    parts = ("ScheduleValid", "InputsObserved", "DeploymentsWatched")
    lines = [_condition_line(status.conditions, kind) for kind in parts if _find(status.conditions, kind)]
    for run in status.recent_runs[:_SHOWN_RUNS]:
        made = f", made {run.model_version_name}" if run.model_version_name else ""
        text = f"run {run.name} of {run.start_time} ({run.reason}): {run.result.lower()}{made}"
        lines.append(Line(_RUN_MARKS[run.result], text))
    if status.skipped:
        text = f"{status.skipped.reason} since {status.skipped.time}: {status.skipped.message}"
        lines.append(Line(Mark.PENDING, text))
    if status.next_schedule_time:
        lines.append(Line(Mark.PENDING, f"the schedule is due at {status.next_schedule_time}"))
    return _explanation(lines, status.conditions)


def why_training_run(run: TrainingRun) -> Explanation:
    """Explain a TrainingRun: trigger, admission, inputs, steps, version."""
    trigger = run.spec.trigger
    lines = [Line(Mark.DONE, f"made by a Pipeline: {trigger.message}")] if trigger else []
    lines += [_condition_line(run.status.conditions, kind) for kind in ("Admitted", "InputsResolved")]
    states = {step.name: step for step in run.status.steps}
    names = [step.name for step in run.spec.steps]
    names += [step.name for step in run.status.steps if step.name not in names]
    for name in names:
        step = states.get(name)
        state = step.state if step else StepState.WAITING
        attempt = f", attempt {step.attempt}" if step and step.attempt > 1 else ""
        attempt += f", resumed {step.resumes} times" if step and step.resumes else ""
        message = f": {step.message}" if step and step.message else ""
        lines.append(Line(_STEP_MARKS[state], f"step {name} {state.value.lower()}{attempt}{message}"))
    if run.status.model_version_name:
        mark = Mark.DONE if _is_true(run.status.conditions, "Succeeded") else Mark.PENDING
        lines.append(Line(mark, f"version {run.status.model_version_name}"))
    return _explanation(lines, run.status.conditions)


def why_model_version(version: ModelVersion) -> Explanation:
    """Explain a ModelVersion: bytes, conversion, evaluation."""
    kinds = ("ArtifactAvailable", *(("Converted",) if version.spec.format is Format.PICKLE else ()), "Accepted")
    lines = [_condition_line(version.status.conditions, kind) for kind in kinds]
    if version.spec.evaluation:
        lines.append(Line(Mark.DONE, version.spec.evaluation.message or version.spec.evaluation.verdict.value))
    return _explanation(lines, version.status.conditions)


def why_deployment(deployment: Deployment, versions: Sequence[ModelVersion]) -> Explanation:
    """Explain a Deployment: resolution, roll-out, availability, and what of its model there is."""
    status = deployment.status
    lines = [_condition_line(status.conditions, kind) for kind in ("ModelResolved", "RolledOut", "Available")]
    if status.model:
        lines.append(
            Line(Mark.DONE, f"serving {status.model.name} v{status.model.version} ({status.model.digest[:19]}…)")
        )
    if status.candidate:
        lines.append(Line(Mark.ACTIVE, f"rolling out v{status.candidate.version} since {status.candidate.start_time}"))
    known = sorted(v.spec.version for v in versions if v.spec.model == deployment.spec.model.name)
    listed = ", ".join(f"v{number}" for number in known) or "none"
    lines.append(Line(Mark.PENDING, f"versions of {deployment.spec.model.name} in this namespace: {listed}"))
    return _explanation(lines, status.conditions)


_SHOWN_RUNS = 3
_RUN_MARKS = {
    RunResult.RUNNING: Mark.ACTIVE,
    RunResult.SUCCEEDED: Mark.DONE,
    RunResult.FAILED: Mark.BLOCKED,
    RunResult.DELETED: Mark.BLOCKED,
}
_STEP_MARKS = {
    StepState.WAITING: Mark.PENDING,
    StepState.QUEUED: Mark.BLOCKED,
    StepState.RUNNING: Mark.ACTIVE,
    StepState.SUCCEEDED: Mark.DONE,
    StepState.CACHED: Mark.DONE,
    StepState.FAILED: Mark.BLOCKED,
}
_CONDITION_MARKS = {
    ConditionStatus.TRUE: Mark.DONE,
    ConditionStatus.UNKNOWN: Mark.ACTIVE,
    ConditionStatus.FALSE: Mark.BLOCKED,
}


def _find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def _is_true(conditions: Sequence[Condition], kind: str) -> bool:
    found = _find(conditions, kind)
    return found is not None and found.status is ConditionStatus.TRUE


def _condition_line(conditions: Sequence[Condition], kind: str) -> Line:
    found = _find(conditions, kind)
    if found is None:
        return Line(Mark.PENDING, kind)
    return Line(
        _CONDITION_MARKS[found.status], f"{kind}: {found.reason}" + (f" — {found.message}" if found.message else "")
    )


def _explanation(lines: Sequence[Line], conditions: Sequence[Condition]) -> Explanation:
    ready = _find(conditions, "Ready")
    if ready is None:
        blocker: str | None = (
            "the operator has not seen it yet: is it running? (kubectl get pods -A -l app.kubernetes.io/name=modelyard)"
        )
        return Explanation(tuple(lines), blocker, CLUSTER)
    if ready.status is ConditionStatus.TRUE:
        return Explanation(tuple(lines), None, None)
    blocker = f"{ready.reason}: {ready.message}" if ready.message else ready.reason
    return Explanation(tuple(lines), blocker, WHO.get(ready.reason, AUTHOR))
