"""What is written so that a Pipeline's runs are made, once for each cause. Pure and total."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from modelyard.api.v1alpha1.pipeline import (
    ConcurrencyPolicy,
    PipelineStatus,
    RunResult,
)
from modelyard.api.v1alpha1.trainingrun import Cause
from modelyard.controller.engine.manifests import ref_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.kinds.pipeline import report
from modelyard.controller.kinds.pipeline.children import build_run
from modelyard.controller.kinds.pipeline.facts import record
from modelyard.controller.kinds.pipeline.holding import Hold, hold, skipped
from modelyard.controller.kinds.pipeline.observed import Observed, Run
from modelyard.controller.kinds.pipeline.triggers import SCHEDULE, causes, combine

_ADDED_BY_WRITER: Final = {"conditions", "observed_generation"}
_JUST_AFTER: Final = 0.01
"""Seconds past a moment at which a pass is made: clocks and timers are not that exact."""


@dataclass(frozen=True)
class PipelinePlan(Plan):
    """The writes of one pass over a Pipeline."""

    needs_runs: bool = False
    """Decide again with the runs read live: a run must not be made that a cache has yet to learn of."""


def decide(observed: Observed) -> PipelinePlan:
    """Return the writes of one pass. What was learnt is recorded first; a run is made on recorded facts only."""
    facts = record(observed)
    standing = causes(observed, facts)
    held = hold(observed, facts, standing) if standing else None
    status = facts.model_copy(update={"skipped": skipped(observed, facts, standing, held)})
    is_recorded = status == observed.pipeline.status
    is_due = is_recorded and bool(standing) and held is None
    return PipelinePlan(
        create=(build_run(observed, combine(observed, status, standing)),) if is_due and observed.is_live else (),
        delete=tuple(ref_of(run.manifest) for run in _surplus(observed)) if is_recorded else (),
        status=_dump(status),
        conditions=report.conditions(observed, status, standing),
        events=report.events(observed, status),
        requeue_after=_next_pass(observed, status, standing, held) if is_recorded else 0.0,
        needs_runs=is_due and not observed.is_live,
    )


def _surplus(observed: Observed) -> list[Run]:
    """Return the runs to delete: finished ones beyond the limits, and active ones that a newer one replaces."""
    spec = observed.pipeline.spec
    active, succeeded, failed = (
        [run for run in observed.runs if run.result is result]
        for result in (RunResult.RUNNING, RunResult.SUCCEEDED, RunResult.FAILED)
    )
    return [
        *(active[1:] if spec.concurrency_policy is ConcurrencyPolicy.REPLACE else ()),
        *succeeded[spec.successful_runs_history_limit :],
        *failed[spec.failed_runs_history_limit :],
    ]


def _next_pass(
    observed: Observed, status: PipelineStatus, standing: Sequence[Cause], held: Hold | None
) -> float | None:
    """Return seconds until a pass is due that no change will cause."""
    moments = [
        held.until if held else None,
        datetime.fromisoformat(status.next_schedule_time) if status.next_schedule_time else None,
        _starting_deadline(observed, standing),
        report.patience_ends(observed),
    ]
    waits = [(moment - observed.now).total_seconds() for moment in moments if moment]
    return max(0.0, min(waits)) + _JUST_AFTER if waits else None


def _starting_deadline(observed: Observed, standing: Sequence[Cause]) -> datetime | None:
    """Return when a scheduled run that has to wait is given up."""
    asked = observed.pipeline.spec.triggers.schedule
    due = next((cause.key.partition(" ")[0] for cause in standing if cause.source == SCHEDULE), None)
    if asked is None or asked.starting_deadline_seconds is None or due is None:
        return None
    return datetime.fromisoformat(due) + timedelta(seconds=asked.starting_deadline_seconds)


def _dump(status: PipelineStatus) -> dict[str, Any]:
    return status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_ADDED_BY_WRITER)
