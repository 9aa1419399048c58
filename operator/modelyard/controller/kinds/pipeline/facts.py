"""What is known of a Pipeline after a look at it, beside what it has recorded before. Pure.

A run that status does not know yet is recorded with all that it handles, so that nothing is lost when the operator dies
between making a run and saying so.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce

from modelyard.api.v1alpha1.observation import ObservedInput
from modelyard.api.v1alpha1.pipeline import (
    RECENT_RUNS,
    Handled,
    PipelineStatus,
    RecentRun,
    RunResult,
    WatchedInput,
)
from modelyard.controller.engine.conditions import timestamp
from modelyard.controller.kinds.pipeline.observed import Observed, Run
from modelyard.controller.kinds.pipeline.schedule import Schedule
from modelyard.controller.kinds.pipeline.triggers import (
    SCHEDULE,
    SPEC,
    due_slot,
    handled_keys,
    handled_until,
    input_key,
    input_source,
    newest_run,
    schedule_key,
    schedule_of,
    seen_inputs,
    sources,
    watched_inputs,
)


def record(observed: Observed) -> PipelineStatus:
    """Return the status with all facts of this pass, but for what is said about triggers and conditions."""
    recorded = observed.pipeline.status
    added = [run for run in reversed(observed.runs) if run.number > recorded.runs]
    status = reduce(_with_run, added, recorded)
    status = _with_results(observed, status)
    status = _with_inputs(observed, status)
    return _with_schedule(observed, _within_sources(observed, status))


def missed_slot(observed: Observed, recorded: PipelineStatus) -> datetime | None:
    """Return the newest time of the schedule at which no run could start within its deadline."""
    asked, schedule = observed.pipeline.spec.triggers.schedule, schedule_of(observed)
    if asked is None or asked.starting_deadline_seconds is None or not isinstance(schedule, Schedule):
        return None
    slot = due_slot(observed, schedule, handled_keys(recorded).get(SCHEDULE))
    is_late = slot is not None and (observed.now - slot).total_seconds() > asked.starting_deadline_seconds
    return slot if is_late else None


def _with_run(status: PipelineStatus, run: Run) -> PipelineStatus:
    """Record a run, and that it handles its causes, its template, and the inputs as they were when it was made."""
    if run.trigger is None:
        return status
    entry = RecentRun(
        name=run.name,
        trigger_key=run.trigger.key,
        reason=run.trigger.reason,
        start_time=run.created,
        result=RunResult.RUNNING,
    )
    handled = [Handled(source=cause.source, key=cause.key) for cause in run.trigger.evidence]
    handled += [Handled(source=input_source(i.name), key=input_key(i.digest)) for i in status.inputs if i.digest]
    handled.append(Handled(source=SPEC, key=run.template_digest))
    return status.model_copy(
        update={
            "recent_runs": (entry, *status.recent_runs)[:RECENT_RUNS],
            "runs": run.number,
            "last_run_time": run.created,
            "handled": _merged(status.handled, handled),
        }
    )


def _with_results(observed: Observed, status: PipelineStatus) -> PipelineStatus:
    live = {run.name: run for run in observed.runs}
    recent = tuple(_with_result(entry, live.get(entry.name)) for entry in status.recent_runs)
    versions = (entry.model_version_name for entry in recent if entry.model_version_name)
    return status.model_copy(
        update={
            "recent_runs": recent,
            "last_version_name": next(versions, status.last_version_name),
        }
    )


def _with_result(entry: RecentRun, run: Run | None) -> RecentRun:
    if entry.result is not RunResult.RUNNING:
        return entry
    if run is None:
        return entry.model_copy(update={"result": RunResult.DELETED})
    return entry.model_copy(update={"result": run.result, "model_version_name": run.version_name})


def _with_inputs(observed: Observed, status: PipelineStatus) -> PipelineStatus:
    """Record what the agent sees, and what the newest run reads. What cannot be read now keeps its last digest."""
    before = {item.name: item for item in status.inputs}
    seen = seen_inputs(observed)
    time = observed.observation.spec.observed_time if observed.observation else None
    newest = newest_run(observed, status)
    inputs = []
    for asked in watched_inputs(observed.pipeline):
        item = _seen(before.get(asked.name, WatchedInput(name=asked.name)), seen.get(asked.name), time)
        inputs.append(_trained(item, newest))
    settled = [
        Handled(source=input_source(item.name), key=input_key(item.digest))
        for item in inputs
        if item.digest and item.digest == item.trained_digest
    ]
    return status.model_copy(update={"inputs": tuple(inputs), "handled": _merged(status.handled, settled)})


def _seen(before: WatchedInput, seen: ObservedInput | None, time: str | None) -> WatchedInput:
    if seen is None or seen.error or seen.digest is None:
        return before
    return before.model_copy(update={"digest": seen.digest, "observed_time": time})


def _trained(item: WatchedInput, newest: Run | None) -> WatchedInput:
    """Record what the newest run reads; of an input that it does not know, what there is counts as read."""
    if newest is None or newest.inputs is None:
        return item
    return item.model_copy(update={"trained_digest": newest.inputs.get(item.name, item.trained_digest or item.digest)})


def _within_sources(observed: Observed, status: PipelineStatus) -> PipelineStatus:
    """Forget what sources have handled that are not asked for any more."""
    wanted = sources(observed.pipeline)
    return status.model_copy(update={"handled": tuple(h for h in status.handled if h.source in wanted)})


def _with_schedule(observed: Observed, status: PipelineStatus) -> PipelineStatus:
    """Record from when on a schedule counts, and which of its times came to nothing."""
    schedule = schedule_of(observed)
    if not isinstance(schedule, Schedule):
        return status.model_copy(update={"next_schedule_time": None})
    key = handled_keys(status).get(SCHEDULE)
    if handled_until(schedule, key, observed.now) is None:
        key = schedule_key(schedule, _scheduled_since(observed))
    elif missed := missed_slot(observed, status):
        key = schedule_key(schedule, missed)
    handled = _merged(status.handled, [Handled(source=SCHEDULE, key=key or "")])
    upcoming = None if observed.pipeline.spec.suspend else schedule.following(observed.now)
    due = timestamp(upcoming) if upcoming else None
    return status.model_copy(update={"handled": handled, "next_schedule_time": due})


def _scheduled_since(observed: Observed) -> datetime:
    """Return from when on a new schedule counts: no time of before makes up for anything."""
    is_new = observed.pipeline.status.observed_generation == 0
    return datetime.fromisoformat(observed.pipeline.metadata.creation_timestamp) if is_new else observed.now


def _merged(handled: Iterable[Handled], newer: Iterable[Handled]) -> tuple[Handled, ...]:
    keys = {item.source: item for item in (*handled, *newer)}
    return tuple(keys[source] for source in sorted(keys))
