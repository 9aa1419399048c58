"""What a Pipeline's conditions and events say. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from modelyard.api.v1alpha1.pipeline import (
    ConditionType,
    PipelineStatus,
    Reason,
    RecentRun,
    RunResult,
    SkipReason,
)
from modelyard.api.v1alpha1.trainingrun import Cause
from modelyard.controller.engine.conditions import Condition, ConditionStatus, cut
from modelyard.controller.engine.plan import Event
from modelyard.controller.kinds.pipeline.observed import Observed
from modelyard.controller.kinds.pipeline.schedule import Schedule
from modelyard.controller.kinds.pipeline.triggers import (
    Fault,
    deployment_faults,
    describe,
    newest_run,
    schedule_of,
    seen_inputs,
    watched_inputs,
)

AGENT_PATIENCE: Final = 60.0
"""Seconds after which a Pipeline whose inputs nobody looks at is said to have no agent."""

_MESSAGE: Final = 256
"""So that a status with all that it may hold fits into 16 KiB."""
_RESULTS: Final[dict[RunResult, tuple[ConditionStatus, Reason]]] = {
    RunResult.RUNNING: ("Unknown", Reason.RUNNING),
    RunResult.SUCCEEDED: ("True", Reason.SUCCEEDED),
    RunResult.FAILED: ("False", Reason.FAILED),
    RunResult.DELETED: ("Unknown", Reason.DELETED),
}


def conditions(observed: Observed, status: PipelineStatus, standing: Sequence[Cause]) -> tuple[Condition, ...]:
    """Return all conditions of a Pipeline that has just been looked at."""
    parts = (*_schedule_valid(observed), *_inputs_observed(observed), *_deployments_watched(observed))
    ready = _ready(observed, status, standing, parts)
    stalled: ConditionStatus = "True" if ready.reason == Reason.INVALID_SCHEDULE else "False"
    return (
        ready,
        *parts,
        _last_run_succeeded(observed, status),
        Condition(ConditionType.STALLED, stalled, ready.reason, ready.message),
    )


def events(observed: Observed, status: PipelineStatus) -> tuple[Event, ...]:
    """Return what has happened since status was recorded."""
    before = {run.name: run for run in observed.pipeline.status.recent_runs}
    happened = [
        event for run in reversed(status.recent_runs) for event in _run_events(observed, before.get(run.name), run)
    ]
    skipped = status.skipped
    if skipped and skipped != observed.pipeline.status.skipped:
        kind = "Warning" if skipped.reason is SkipReason.MISSED_SCHEDULE else "Normal"
        happened.append(Event(kind, skipped.reason, skipped.message))  # type: ignore[arg-type]
    return tuple(happened)


def patience_ends(observed: Observed) -> datetime | None:
    """Return when a Pipeline whose inputs nobody looks at will be said to have no agent."""
    if observed.observation is not None or not watched_inputs(observed.pipeline):
        return None
    created = datetime.fromisoformat(observed.pipeline.metadata.creation_timestamp)
    ends = created + timedelta(seconds=AGENT_PATIENCE)
    return ends if ends > observed.now else None


def _ready(
    observed: Observed, status: PipelineStatus, standing: Sequence[Cause], parts: Sequence[Condition]
) -> Condition:
    if observed.pipeline.spec.suspend:
        message = "no run starts: set `spec.suspend` to false to go on"
        return Condition(ConditionType.READY, "False", Reason.SUSPENDED, message)
    for wanted in ("False", "Unknown"):
        for part in parts:
            if part.status == wanted:
                return Condition(ConditionType.READY, part.status, part.reason, part.message)
    if active := ", ".join(f"'{run.name}'" for run in observed.runs if run.is_active):
        return Condition(ConditionType.READY, "True", Reason.RUNNING, cut(f"active: {active}", _MESSAGE))
    if standing and status.skipped:
        return Condition(ConditionType.READY, "True", Reason.WATCHING, cut(status.skipped.message, _MESSAGE))
    due = f"; the schedule is due at {status.next_schedule_time}" if status.next_schedule_time else ""
    return Condition(ConditionType.READY, "True", Reason.WATCHING, f"waits for a trigger{due}")


def _schedule_valid(observed: Observed) -> Iterator[Condition]:
    match schedule_of(observed):
        case Schedule() as schedule:
            message = f"`{schedule.cron}` in {schedule.time_zone}"
            yield Condition(ConditionType.SCHEDULE_VALID, "True", Reason.VALID, message)
        case Fault() as fault:
            yield Condition(ConditionType.SCHEDULE_VALID, "False", fault.reason, cut(fault.message, _MESSAGE))
        case None:
            return


def _inputs_observed(observed: Observed) -> Iterator[Condition]:
    watched = watched_inputs(observed.pipeline)
    if not watched:
        return
    kind = ConditionType.INPUTS_OBSERVED
    if observed.observation is None:
        yield _unobserved(observed)
        return
    seen = seen_inputs(observed)
    faults = [(item, error) for item in watched if (found := seen.get(item.name)) and (error := found.error)]
    unread = [
        item.name for item in watched if item.name not in seen or not (seen[item.name].digest or seen[item.name].error)
    ]
    if faults:
        message = "; ".join(f"input '{item.name}' ({item.uri}): {error.message}" for item, error in faults)
        yield Condition(kind, "False", faults[0][1].reason, cut(message, _MESSAGE))
    elif unread:
        message = f"the agent has yet to read {', '.join(unread)}"
        yield Condition(kind, "Unknown", Reason.OBSERVING, cut(message, _MESSAGE))
    else:
        yield Condition(kind, "True", Reason.OBSERVED, f"the agent looks at {len(watched)} inputs")


def _unobserved(observed: Observed) -> Condition:
    if patience_ends(observed):
        message = "the agent of this namespace is asked to look at the inputs"
        return Condition(ConditionType.INPUTS_OBSERVED, "Unknown", Reason.OBSERVING, message)
    namespace = observed.pipeline.metadata.namespace
    message = (
        f"no agent looks at the inputs: check that the chart modelyard-tenant is installed in namespace '{namespace}' "
        f"and that its agent runs (kubectl get pods -n {namespace})"
    )
    return Condition(ConditionType.INPUTS_OBSERVED, "Unknown", Reason.NO_AGENT, message)


def _deployments_watched(observed: Observed) -> Iterator[Condition]:
    asked = observed.pipeline.spec.triggers.deployments
    if not asked:
        return
    faults = deployment_faults(observed)
    if faults:
        message = "; ".join(fault.message for fault in faults)
        yield Condition(ConditionType.DEPLOYMENTS_WATCHED, "False", faults[0].reason, cut(message, _MESSAGE))
    else:
        message = f"the conditions of {len(asked)} modelyard Deployments are watched"
        yield Condition(ConditionType.DEPLOYMENTS_WATCHED, "True", Reason.OBSERVED, message)


def _last_run_succeeded(observed: Observed, status: PipelineStatus) -> Condition:
    kind = ConditionType.LAST_RUN_SUCCEEDED
    if not status.recent_runs:
        return Condition(kind, "Unknown", Reason.NO_RUN, "no run was made yet")
    newest = status.recent_runs[0]
    known, reason = _RESULTS[newest.result]
    return Condition(kind, known, reason, cut(_outcome(observed, status, newest), _MESSAGE))


def _outcome(observed: Observed, status: PipelineStatus, newest: RecentRun) -> str:
    match newest.result:
        case RunResult.RUNNING:
            return f"run '{newest.name}' has not ended"
        case RunResult.SUCCEEDED:
            made = f" and made {newest.model_version_name}" if newest.model_version_name else ""
            return f"run '{newest.name}' succeeded{made}"
        case RunResult.FAILED:
            run = newest_run(observed, status)
            return f"run '{newest.name}' failed{f': {run.message}' if run else ''}"
        case RunResult.DELETED:
            return f"run '{newest.name}' was deleted before its end"


def _run_events(observed: Observed, before: RecentRun | None, run: RecentRun) -> Iterator[Event]:
    live = next((item for item in observed.runs if item.name == run.name), None)
    if before is None and live and live.trigger:
        yield Event("Normal", "RunCreated", cut(f"made TrainingRun {run.name}: {describe(live.trigger.evidence)}"))
    if before and before.result is run.result:
        return
    match run.result:
        case RunResult.SUCCEEDED:
            made = f" and made {run.model_version_name}" if run.model_version_name else ""
            yield Event("Normal", "RunSucceeded", f"TrainingRun {run.name} succeeded{made}")
        case RunResult.FAILED:
            yield Event("Warning", "RunFailed", cut(f"TrainingRun {run.name} failed: {live.message if live else ''}"))
        case RunResult.DELETED:
            yield Event("Warning", "RunDeleted", f"TrainingRun {run.name} was deleted before its end")
        case RunResult.RUNNING:
            pass
