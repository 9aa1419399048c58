"""What would start a run: the causes of this moment, and the trigger that they make together. Pure.

A cause has a source and a key. It stands until status has its key as handled, which a run does that was made for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from modelyard.api.canonical import compact_json
from modelyard.api.v1alpha1.names import ANNOTATION_RUN_NOW
from modelyard.api.v1alpha1.observation import ObservedInput
from modelyard.api.v1alpha1.pipeline import (
    DeploymentCondition,
    DeploymentTrigger,
    Pipeline,
    PipelineStatus,
    Reason,
    SpecTrigger,
    WatchedInput,
)
from modelyard.api.v1alpha1.trainingrun import Cause, Input, RunTrigger, TrainingRunSpec, TriggerReason
from modelyard.controller.engine.conditions import cut, find_condition, timestamp
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.pipeline.observed import Observed, Run
from modelyard.controller.kinds.pipeline.schedule import InvalidScheduleError, Schedule

SPEC: Final = "spec"
MANUAL: Final = "manual"
SCHEDULE: Final = "schedule"

_CODE: Final = "git+"
_CONDITIONS: Final = {
    DeploymentCondition.INPUTS_DRIFTED: ("InputsStable", TriggerReason.INPUTS_DRIFTED),
    DeploymentCondition.ACCURACY_LOST: ("AccuracyHeld", TriggerReason.ACCURACY_LOST),
}
_ORDER: Final = list(TriggerReason)
_TOKEN: Final = 63
_CAUSE_MESSAGE: Final = 256
_WRONG_CLOCK: Final = timedelta(days=1)
"""A handled time that lies further ahead comes from a clock that was wrong."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a trigger."""

    reason: str
    message: str


def causes(observed: Observed, status: PipelineStatus) -> tuple[Cause, ...]:
    """Return all causes for which there has been no run yet, the most telling first.

    Args:
        observed: what was read.
        status: all facts recorded, those of this pass too.
    """
    handled = handled_keys(status)
    found = [
        *_spec(observed, status),
        *_inputs(observed, status),
        *_schedule(observed, handled),
        *_deployments(observed),
        *_manual(observed.pipeline),
    ]
    standing = [cause for cause in found if handled.get(cause.source) != cause.key]
    return tuple(sorted(standing, key=lambda cause: (_ORDER.index(cause.reason), cause.source)))


def combine(observed: Observed, status: PipelineStatus, standing: Sequence[Cause]) -> RunTrigger:
    """Return the trigger of the one run that is made for causes.

    Its key is made of its number too, so that the same cause can come again later, and of the Pipeline's uid, so that a
    successor of its name shares no name of a run with it.
    """
    number = status.runs + 1
    identity = [
        observed.pipeline.metadata.uid,
        str(number),
        *sorted(f"{cause.source} {cause.key}" for cause in standing),
    ]
    return RunTrigger(
        reason=standing[0].reason,
        key=sha256(compact_json(identity).encode()).hexdigest()[:16],
        number=number,
        message=describe(standing),
        evidence=tuple(standing),
    )


def describe(standing: Sequence[Cause]) -> str:
    """Return what happened, for people."""
    return cut("; ".join(f"{cause.reason}: {cause.message}" for cause in standing))


def handled_keys(status: PipelineStatus) -> dict[str, str]:
    """Return what needs no run any more, by source."""
    return {item.source: item.key for item in status.handled}


def sources(pipeline: Pipeline) -> frozenset[str]:
    """Return the sources from which causes of a Pipeline may come."""
    triggers = pipeline.spec.triggers
    deployments = (deployment_source(item, on) for item in triggers.deployments for on in item.on)
    inputs = (input_source(item.name) for item in watched_inputs(pipeline))
    return frozenset((SPEC, MANUAL, *((SCHEDULE,) if triggers.schedule else ()), *deployments, *inputs))


def template_digest(template: TrainingRunSpec) -> str:
    """Return a digest of the fields that a person wrote.

    Values that are the default are left out, so that a field that a newer operator adds changes nothing. Stored digests
    are compared with it: another way to compute it would run every Pipeline again.
    """
    written = template.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude={"suspend", "ttl_seconds_after_finished"}
    )
    return sha256(compact_json(written).encode()).hexdigest()[:16]


def watched_inputs(pipeline: Pipeline) -> tuple[Input, ...]:
    """Return the inputs whose digests are watched."""
    trigger = pipeline.spec.triggers.inputs
    if trigger is None:
        return ()
    inputs = pipeline.spec.template.spec.inputs
    return tuple(item for item in inputs if item.digest is None and (not trigger.names or item.name in trigger.names))


def seen_inputs(observed: Observed) -> dict[str, ObservedInput]:
    """Return what the agent saw of the watched inputs, by name; of one that lies elsewhere now it has seen nothing."""
    if observed.observation is None:
        return {}
    uris = {item.name: item.uri for item in watched_inputs(observed.pipeline)}
    return {item.name: item for item in observed.observation.spec.inputs if item.uri in {None, uris.get(item.name)}}


def input_source(name: str) -> str:
    """Return the source of an input's causes."""
    return f"inputs/{name}"


def input_key(digest: str) -> str:
    """Return the key of an input's content."""
    return digest.removeprefix("sha256:")[:16]


def schedule_of(observed: Observed) -> Schedule | Fault | None:
    """Return the schedule, what is wrong with it, or None when there is none."""
    asked = observed.pipeline.spec.triggers.schedule
    if asked is None:
        return None
    if observed.zone is None:
        field = "`spec.triggers.schedule.timeZone`"
        return Fault(Reason.INVALID_SCHEDULE, f"{field}: '{asked.time_zone}' is not in the IANA time zone database")
    try:
        return Schedule(asked.cron, asked.time_zone, observed.zone)
    except InvalidScheduleError as error:
        return Fault(Reason.INVALID_SCHEDULE, f"`spec.triggers.schedule.cron`: {error}")


def schedule_key(schedule: Schedule, moment: datetime) -> str:
    """Return the key under which a time of a schedule, and all before it, are handled."""
    return f"{timestamp(moment)} {schedule.identity}"


def handled_until(schedule: Schedule, key: str | None, now: datetime) -> datetime | None:
    """Return until when the times of a schedule are handled; None for another schedule, or from a wrong clock."""
    moment, _, identity = (key or "").partition(" ")
    if identity != schedule.identity:
        return None
    handled = datetime.fromisoformat(moment)
    return handled if handled <= now + _WRONG_CLOCK else None


def due_slot(observed: Observed, schedule: Schedule, key: str | None) -> datetime | None:
    """Return the newest time of a schedule that has come and is not handled; those before it are left out."""
    handled = handled_until(schedule, key, observed.now)
    return schedule.newest(handled, observed.now) if handled else None


def deployment_source(trigger: DeploymentTrigger, on: DeploymentCondition) -> str:
    """Return the source of a Deployment's causes."""
    return f"deployments/{trigger.namespace}/{trigger.name}/{on}"


def deployment_faults(observed: Observed) -> tuple[Fault, ...]:
    """Return why Deployments cannot be watched."""
    triggers = observed.pipeline.spec.triggers.deployments
    return tuple(fault for trigger in triggers if (fault := _deployment_fault(observed, trigger)))


def _deployment_fault(observed: Observed, trigger: DeploymentTrigger) -> Fault | None:
    home = observed.pipeline.metadata.namespace
    mine, theirs = observed.tenants.get(home), observed.tenants.get(trigger.namespace)
    if trigger.namespace != home and (mine is None or mine != theirs):
        return Fault(
            Reason.TENANT_MISMATCH,
            f"modelyard Deployment '{trigger.namespace}/{trigger.name}': the label modelyard.dev/tenant of namespace "
            f"'{trigger.namespace}' must be that of '{home}': {_quoted(theirs)} is not {_quoted(mine)}",
        )
    if (trigger.namespace, trigger.name) not in observed.deployments:
        name = f"{trigger.namespace}/{trigger.name}"
        return Fault(
            Reason.DEPLOYMENT_NOT_FOUND, f"there is no modelyard Deployment '{name}' that this operator serves"
        )
    return None


def _quoted(tenant: str | None) -> str:
    return "none" if tenant is None else f"'{tenant}'"


def _spec(observed: Observed, status: PipelineStatus) -> Iterator[Cause]:
    spec = observed.pipeline.spec
    if spec.triggers.spec is SpecTrigger.ON_CHANGE:
        digest = template_digest(spec.template.spec)
        message = "the template has changed" if status.recent_runs else "the template is new"
        yield Cause(reason=TriggerReason.SPEC_CHANGED, source=SPEC, key=digest, message=message)


def _inputs(observed: Observed, status: PipelineStatus) -> Iterator[Cause]:
    """Yield the inputs that are not what the newest run reads; none while it has yet to look at what there is."""
    newest = newest_run(observed, status)
    if newest is not None and newest.is_active and newest.inputs is None:
        return
    known = {item.name: item for item in status.inputs}
    for asked in watched_inputs(observed.pipeline):
        seen = known.get(asked.name)
        if seen is None or seen.digest is None or seen.digest == seen.trained_digest:
            continue
        is_code = asked.uri.startswith(_CODE)
        yield Cause(
            reason=TriggerReason.CODE_CHANGED if is_code else TriggerReason.DATA_CHANGED,
            source=input_source(asked.name),
            key=input_key(seen.digest),
            message=_input_message(asked, seen),
        )


def _input_message(asked: Input, seen: WatchedInput) -> str:
    now = (seen.digest or "")[:19]
    before = f", after {seen.trained_digest[:19]}" if seen.trained_digest else ", which no run has read"
    return f"input '{asked.name}' is {now}{before}"


def _schedule(observed: Observed, handled: Mapping[str, str]) -> Iterator[Cause]:
    schedule = schedule_of(observed)
    if not isinstance(schedule, Schedule):
        return
    slot = due_slot(observed, schedule, handled.get(SCHEDULE))
    if slot:
        key = schedule_key(schedule, slot)
        local = slot.astimezone(schedule.zone).strftime("%Y-%m-%d %H:%M")
        message = f"`{schedule.cron}` was due at {local} {schedule.time_zone}"
        yield Cause(reason=TriggerReason.SCHEDULE, source=SCHEDULE, key=key, message=message)


def _deployments(observed: Observed) -> Iterator[Cause]:
    for trigger in observed.pipeline.spec.triggers.deployments:
        if _deployment_fault(observed, trigger) is None:
            yield from _deployment(trigger, observed.deployments[trigger.namespace, trigger.name])


def _deployment(trigger: DeploymentTrigger, deployment: Manifest) -> Iterator[Cause]:
    status: Mapping[str, Any] = deployment.get("status") or {}
    served = (status.get("model") or {}).get("digest", "")
    for on in trigger.on:
        kind, reason = _CONDITIONS[on]
        condition = find_condition(status.get("conditions", ()), kind)
        if condition is None or condition["status"] != "False":
            continue
        said = condition.get("message") or condition["reason"]
        yield Cause(
            reason=reason,
            source=deployment_source(trigger, on),
            key=f"{input_key(served)} {condition['lastTransitionTime']}",
            message=cut(f"modelyard Deployment '{trigger.namespace}/{trigger.name}': {said}", _CAUSE_MESSAGE),
        )


def _manual(pipeline: Pipeline) -> Iterator[Cause]:
    token = pipeline.metadata.annotations.get(ANNOTATION_RUN_NOW)
    if token:
        key = token if len(token) <= _TOKEN else sha256(token.encode()).hexdigest()
        message = f"asked for by the annotation {ANNOTATION_RUN_NOW}"
        yield Cause(reason=TriggerReason.MANUAL, source=MANUAL, key=key, message=message)


def newest_run(observed: Observed, status: PipelineStatus) -> Run | None:
    """Return the newest run, if it still exists."""
    name = status.recent_runs[0].name if status.recent_runs else ""
    return next((run for run in observed.runs if run.name == name), None)
