"""Whether a run may start now, and what is said of one that may not. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelyard.api.v1alpha1.pipeline import (
    RECENT_RUNS,
    ConcurrencyPolicy,
    PipelineStatus,
    Skipped,
    SkipReason,
    WatchedInput,
)
from modelyard.api.v1alpha1.trainingrun import Cause, TriggerReason
from modelyard.controller.engine.conditions import cut, timestamp
from modelyard.controller.kinds.pipeline.facts import missed_slot
from modelyard.controller.kinds.pipeline.observed import Observed
from modelyard.controller.kinds.pipeline.triggers import describe

_DAY: Final = timedelta(days=1)
_DO_NOT_COOL_DOWN: Final = {TriggerReason.SPEC_CHANGED, TriggerReason.MANUAL}
_WAITING: Final = {SkipReason.SUSPENDED, SkipReason.RUN_ACTIVE, SkipReason.COOLDOWN, SkipReason.BUDGET_SPENT}
_SKIP_MESSAGE: Final = 400


@dataclass(frozen=True)
class Hold:
    """Why no run starts now. Its causes stand until one may."""

    reason: SkipReason
    message: str
    until: datetime | None = None
    """When that ends by itself."""


def hold(observed: Observed, status: PipelineStatus, standing: Sequence[Cause]) -> Hold | None:
    """Return why no run may start for causes, or None when one may.

    A changed template and a manual run do not wait for the cooldown, and a manual run not for the budget: a person
    waits for them. All runs count for both.
    """
    if observed.pipeline.spec.suspend:
        return Hold(SkipReason.SUSPENDED, "`spec.suspend` is set")
    reasons = {cause.reason for cause in standing}
    waits = (
        None if reasons & _DO_NOT_COOL_DOWN else _cooldown(observed, status),
        None if TriggerReason.MANUAL in reasons else _budget(observed, status),
    )
    pending = [wait for wait in (_active(observed), *waits) if wait]
    return max(pending, key=lambda wait: (wait.until is None, wait.until or observed.now), default=None)


def skipped(observed: Observed, status: PipelineStatus, standing: Sequence[Cause], held: Hold | None) -> Skipped | None:
    """Return what is said of the last trigger that did not start a run, or not yet."""
    before = observed.pipeline.status.skipped
    if standing and held:
        wait = f" until {timestamp(held.until)}" if held.until else ""
        return _say(observed, held.reason, f"{held.message}{wait}: {describe(standing)}")
    if slot := missed_slot(observed, observed.pipeline.status):
        seconds = observed.pipeline.spec.triggers.schedule
        allowed = seconds.starting_deadline_seconds if seconds else None
        message = f"no run could start within {allowed} s of the scheduled time {timestamp(slot)}"
        return _say(observed, SkipReason.MISSED_SCHEDULE, message)
    if before is None or before.reason not in _WAITING:
        return _unchanged(observed, status) or before
    if status.runs > observed.pipeline.status.runs:
        return None
    if standing:
        return before
    return _say(observed, SkipReason.NOTHING_CHANGED, f"the cause went away before a run could start: {before.message}")


def _say(observed: Observed, reason: SkipReason, message: str) -> Skipped:
    """Return what is said, with the time at which that was first so."""
    said = Skipped(reason=reason, message=cut(message, _SKIP_MESSAGE), time=timestamp(observed.now))
    before = observed.pipeline.status.skipped
    return before if before and (before.reason, before.message) == (said.reason, said.message) else said


def _unchanged(observed: Observed, status: PipelineStatus) -> Skipped | None:
    """Return that inputs were written again, but with what the newest run reads."""
    before = {item.name: item for item in observed.pipeline.status.inputs}
    if any(item.digest is None or item.digest != item.trained_digest for item in status.inputs):
        return None
    again = [item.name for item in status.inputs if _is_seen_again(before.get(item.name), item)]
    if not again:
        return None
    names = ", ".join(f"'{name}'" for name in again)
    message = f"the agent saw something new, but the content is what the newest run reads: {names}"
    return Skipped(reason=SkipReason.NOTHING_CHANGED, message=cut(message, _SKIP_MESSAGE), time=timestamp(observed.now))


def _is_seen_again(before: WatchedInput | None, now: WatchedInput) -> bool:
    if before is None or before.observed_time is None:
        return False
    return before.observed_time != now.observed_time and before.digest == now.digest


def _active(observed: Observed) -> Hold | None:
    active = [run for run in observed.runs if run.is_active]
    most = {ConcurrencyPolicy.FORBID: 1, ConcurrencyPolicy.REPLACE: None, ConcurrencyPolicy.ALLOW: RECENT_RUNS}
    limit = most[observed.pipeline.spec.concurrency_policy]
    if limit is None or len(active) < limit:
        return None
    if limit == 1:
        return Hold(SkipReason.RUN_ACTIVE, f"starts after the end of run '{active[0].name}'")
    return Hold(SkipReason.RUN_ACTIVE, f"starts when fewer than {limit} runs are active")


def _cooldown(observed: Observed, status: PipelineStatus) -> Hold | None:
    length = timedelta(seconds=observed.pipeline.spec.cooldown_seconds)
    started = _starts(status)[:1]
    if not started or abs(observed.now - started[0]) >= length:
        return None
    return Hold(SkipReason.COOLDOWN, "cools down after the last run", started[0] + length)


def _budget(observed: Observed, status: PipelineStatus) -> Hold | None:
    """Hold when the budget of 24 hours is spent. A time that a wrong clock has put further ahead does not count."""
    limit = observed.pipeline.spec.max_runs_per_day
    counted = [start for start in _starts(status) if abs(observed.now - start) < _DAY]
    if limit is None or len(counted) < limit:
        return None
    message = f"`spec.maxRunsPerDay` is {limit}, and so many runs started within 24 hours; waits"
    return Hold(SkipReason.BUDGET_SPENT, message, sorted(counted)[-limit] + _DAY)


def _starts(status: PipelineStatus) -> list[datetime]:
    return [datetime.fromisoformat(run.start_time) for run in status.recent_runs]
