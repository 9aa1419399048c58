"""Live progress of a run or a roll-out, one line a change."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from modelyard.api.v1alpha1 import Deployment, TrainingRun
from modelyard.api.v1alpha1.common import ConditionStatus
from modelyard.api.v1alpha1.trainingrun import DONE, RunProgress

FINAL_STALLED = "Stalled"


def describe(resource: TrainingRun | Deployment) -> str:
    """Return the one line that says where the object stands."""
    ready = next((c for c in resource.status.conditions if c.type == "Ready"), None)
    if ready is None:
        return "waiting for the operator"
    if isinstance(resource, TrainingRun) and ready.reason == "Running":
        done = sum(step.state in DONE for step in resource.status.steps)
        total = max(len(resource.spec.steps), len(resource.status.steps))
        return f"[{done}/{total}] {ready.message or ready.reason}{_progress(resource.status.progress)}"
    return f"{ready.reason}: {ready.message}" if ready.message else ready.reason


def _progress(said: RunProgress | None) -> str:
    """Return what a running step says of itself; minutes, since a line a second would be too many."""
    if said is None or said.percentage is None:
        return ""
    minutes = None if said.estimated_remaining_seconds is None else -(-said.estimated_remaining_seconds // 60)
    return f", {said.percentage} %" + ("" if minutes is None else f", about {minutes} min left")


def outcome(resource: TrainingRun | Deployment) -> bool | None:
    """Say whether it ended well (True), badly (False) or goes on (None)."""
    if resource.status.observed_generation < resource.metadata.generation:
        return None
    status = {condition.type: condition.status for condition in resource.status.conditions}
    if status.get("Ready") is ConditionStatus.TRUE:
        return True
    return False if status.get(FINAL_STALLED) is ConditionStatus.TRUE else None


def changes(
    resources: Iterable[TrainingRun | Deployment], *, started: datetime, now: Iterator[datetime]
) -> Iterator[tuple[str, bool | None]]:
    """Yield a timed line and the outcome for each change that a person can see; stop after the end."""
    last = ""
    for resource in resources:
        line = describe(resource)
        if line != last:
            last = line
            seconds = int((next(now) - started).total_seconds())
            yield f"{seconds:4d} s  {line}", outcome(resource)
        if outcome(resource) is not None:
            return


def clock() -> Iterator[datetime]:
    """Yield the time, whenever it is asked."""
    while True:
        yield datetime.now(UTC)
