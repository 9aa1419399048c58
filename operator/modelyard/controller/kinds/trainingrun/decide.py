"""What is written so that a TrainingRun comes to its end. Pure and total."""

from dataclasses import dataclass
from typing import Any, Final

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.names import API_VERSION, REGISTER_STEP, VALIDATE_STEP, model_version_name
from modelyard.api.v1alpha1.trainingrun import (
    ConditionType,
    Judge,
    StepState,
    StepStatus,
    TrainingRun,
    TrainingRunStatus,
)
from modelyard.controller.engine.conditions import Condition
from modelyard.controller.engine.manifests import Manifest, Ref, ref_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.kinds import unreadable
from modelyard.controller.kinds.attempts import POD_PATIENCE, AttemptState, retry_delay
from modelyard.controller.kinds.trainingrun import report
from modelyard.controller.kinds.trainingrun.caching import check_due
from modelyard.controller.kinds.trainingrun.children import (
    build_counter,
    build_model_version,
    build_register_job,
    build_step_job,
    build_suspension,
    build_validate_job,
)
from modelyard.controller.kinds.trainingrun.groups import build_service, idle_services, missing_services
from modelyard.controller.kinds.trainingrun.numbers import counter_entry, next_version
from modelyard.controller.kinds.trainingrun.observed import Observed
from modelyard.controller.kinds.trainingrun.progress import (
    JUDGEMENTS,
    STARTED,
    Progress,
    Registration,
    elapsed,
    judgements,
    number_of,
    progress,
    registration,
)

_REFUSED_CHECK: Final = 30.0
"""Seconds between two looks at a Job whose pods may not be created."""
_ADDED_BY_WRITER: Final = frozenset({"conditions", "observedGeneration"})


@dataclass(frozen=True)
class RunPlan(Plan):
    """The writes of one pass over a TrainingRun."""

    needs_line: bool = False
    """Decide again with `Observed.line`: the next write depends on what no other run may change meanwhile."""
    needs_earlier: str | None = None
    """Decide again with the steps of this identity in `Observed.earlier`."""


@dataclass(frozen=True)
class _Act:
    """What is done beside recording."""

    create: tuple[Manifest, ...] = ()
    apply: tuple[Manifest, ...] = ()
    version_name: str | None = None
    needs_line: bool = False
    requeue_after: float | None = None


def decide(observed: Observed) -> RunPlan:
    """Return the writes of one pass; none of them changes anything once all is as it should be."""
    if observed.run.metadata.deletion_timestamp:
        return RunPlan()
    if is_finished(observed.run):
        return _rest(observed)
    learnt = progress(observed)
    if learnt.unanswered:
        return RunPlan(needs_earlier=learnt.unanswered)
    act = _act(observed, learnt)
    status = learnt.status
    if act.version_name:
        status = status.model_copy(update={"model_version_name": act.version_name})
    return RunPlan(
        create=(*missing_services(observed), *act.create),
        apply=(*act.apply, *_suspensions(observed, suspend=observed.run.spec.suspend)),
        status=status_of(status),
        conditions=report.conditions(observed, learnt),
        events=report.events(observed, learnt),
        delete=(*idle_services(observed), *(_queued_jobs(observed) if observed.run.spec.suspend else ())),
        requeue_after=_soonest(act.requeue_after, _due(observed, learnt)),
        needs_line=act.needs_line,
    )


def refuse(manifest: Manifest, why: str) -> Plan:
    """Return what to say of a run that cannot be read, such as one that a newer operator wrote; nothing else changes.

    Args:
        manifest: the run as it is stored.
        why: which field cannot be read.
    """
    summary = {ConditionType.READY, ConditionType.STALLED, ConditionType.RECONCILING}
    recorded = _recorded(manifest.get("status", {}).get("conditions", ()))
    return unreadable.refuse(manifest, "run", why, [item for item in recorded if item.type not in summary])


def is_finished(run: TrainingRun) -> bool:
    """Say whether a run has ended; what it recorded then stays."""
    return any(c.type == ConditionType.SUCCEEDED and c.status in {"True", "False"} for c in run.status.conditions)


def status_of(status: TrainingRunStatus) -> dict[str, Any]:
    """Return a status as a plan has it."""
    return {name: value for name, value in as_json(status).items() if name not in _ADDED_BY_WRITER}


def _rest(observed: Observed) -> RunPlan:
    """Return what is left to do for a run that has ended: stop what it left running, and delete it when it is time."""
    run, ttl = observed.run, observed.run.spec.ttl_seconds_after_finished
    delete = (*(ref_of(service) for service in observed.services), *_queued_jobs(observed))
    requeue_after = None
    if ttl is not None and run.status.completion_time:
        requeue_after = ttl - observed.seconds_since(run.status.completion_time)
        if requeue_after <= 0:
            metadata = run.metadata
            delete = (*delete, Ref(API_VERSION, TrainingRun.kind, metadata.namespace, metadata.name, metadata.uid))
            requeue_after = None
    return RunPlan(
        apply=_suspensions(observed, suspend=True),
        delete=delete,
        status=status_of(run.status),
        conditions=_recorded(observed.manifest["status"]["conditions"]),
        requeue_after=requeue_after,
    )


def _recorded(conditions: Any) -> tuple[Condition, ...]:
    return tuple(Condition(c["type"], c["status"], c["reason"], c.get("message", "")) for c in conditions)


def _suspensions(observed: Observed, *, suspend: bool) -> tuple[Manifest, ...]:
    return tuple(
        build_suspension(observed.manifest, attempt.manifest, suspend=suspend)
        for attempts in observed.attempts.values()
        for attempt in attempts
        if attempt.state is AttemptState.ACTIVE and attempt.queue is None and attempt.suspended is not suspend
    )


def _queued_jobs(observed: Observed) -> tuple[Ref, ...]:
    """Return the Jobs that are to stop although they are Kueue's to start: only their end is ours to decide."""
    return tuple(
        ref_of(attempt.manifest)
        for attempts in observed.attempts.values()
        for attempt in attempts
        if attempt.state is AttemptState.ACTIVE and attempt.queue is not None
    )


def _act(observed: Observed, learnt: Progress) -> _Act:
    """Return the next thing to do. It rests on recorded facts only: new ones are recorded first."""
    if learnt.status != observed.run.status:
        return _Act(requeue_after=0.0)
    if learnt.failure or learnt.succeeded or learnt.unresolved or observed.run.spec.suspend:
        return _Act()
    step = learnt.current
    if step.name == REGISTER_STEP:
        return _register(observed, step)
    if step.state in STARTED or step.candidate:
        return _Act()
    return _start(observed, step)


def _start(observed: Observed, step: StepStatus) -> _Act:
    """Start the next attempt of a step, after a failed one when its delay is over."""
    wait = _wait(observed, step)
    if wait > 0:
        return _Act(requeue_after=wait)
    if step.name == REGISTER_STEP:
        return _Act(create=(_register_job(observed, step.attempt + 1),))
    if step.name == VALIDATE_STEP:
        return _Act(create=(build_validate_job(observed, step.attempt + 1),))
    asked = next(asked for asked in observed.run.spec.steps if asked.name == step.name)
    job = build_step_job(observed, asked, step.attempt + 1)
    services = (build_service(observed.manifest, job),) if asked.num_nodes > 1 else ()
    return _Act(create=(*services, job))


def _wait(observed: Observed, step: StepStatus) -> float:
    if step.state is not StepState.FAILED or step.completion_time is None:
        return 0.0
    return retry_delay(step.attempt).total_seconds() - observed.seconds_since(step.completion_time)


def _register(observed: Observed, step: StepStatus) -> _Act:
    """Reserve a number, judge the model under it, and publish the version if the verdict still holds."""
    if observed.run.status.model_version_name is None:
        return _reserve(observed)
    if step.state not in STARTED:
        return _start(observed, step)
    answered = registration(observed)
    if answered is None:
        return _Act()
    return _publish(observed, answered) if observed.line else _Act(needs_line=True)


def _reserve(observed: Observed) -> _Act:
    if observed.line is None:
        return _Act(needs_line=True)
    namespace, model, counter = observed.run.metadata.namespace, observed.run.spec.model, observed.line.counter
    if counter is None:
        return _Act(create=(build_counter(namespace, None, {}),), requeue_after=0.0)
    uid = observed.run.metadata.uid
    entry = (counter.get("data") or {}).get(model)
    number = next_version(entry, (version.spec.version for version in observed.versions), uid)
    reserved = counter_entry(number, uid)
    apply = () if entry == reserved else (build_counter(namespace, counter, {model: reserved}),)
    return _Act(apply=apply, version_name=model_version_name(model, number), requeue_after=0.0)


def _publish(observed: Observed, answered: Registration) -> _Act:
    moved = _champion_moved(observed, answered)
    count = judgements(observed)
    other_number = answered.record.version != number_of(observed.run.status.model_version_name or "")
    again = moved and count < JUDGEMENTS and not _reported(answered)
    if other_number or again:
        return _Act(create=(_register_job(observed, answered.attempt.number + 1),))
    why = _why_moved(answered, count) if moved else None
    version = build_model_version(observed, answered.record, answered.result, champion_moved=why)
    return _Act(create=(version,), requeue_after=0.0)


def _champion_moved(observed: Observed, answered: Registration) -> bool:
    """Say whether the model was judged against another version than today's champion."""
    evaluation, champion = answered.result.evaluation, observed.champion
    if evaluation is None:
        return False
    judged_against = evaluation.champion.digest if evaluation.champion else None
    return judged_against != (champion.spec.artifact.digest if champion else None)


def _reported(answered: Registration) -> bool:
    """Say whether a step compared the models: it cannot be asked again, as register can."""
    evaluation = answered.result.evaluation
    return evaluation is not None and evaluation.by is Judge.STEP


def _why_moved(answered: Registration, count: int) -> str:
    if _reported(answered):
        return "the champion changed after the step had compared the model with another one; start the run again"
    return f"the champion changed each of the {count} times that the model was judged"


def _register_job(observed: Observed, attempt: int) -> Manifest:
    return build_register_job(observed, number_of(observed.run.status.model_version_name or ""), attempt)


def _due(observed: Observed, learnt: Progress) -> float | None:
    """Return when a pass is due that no change will cause."""
    if observed.run.spec.suspend or learnt.failure or learnt.succeeded:
        return None
    deadline, left = observed.run.spec.active_deadline_seconds, None
    if deadline and learnt.status.start_time and not learnt.status.suspended_time:
        left = max(0.0, deadline - elapsed(observed, learnt.status))
    resolving = learnt.unresolved.requeue_after if learnt.unresolved else None
    return _soonest(left, resolving, check_due(observed, learnt.current), _pod_check(observed, learnt.current))


def _pod_check(observed: Observed, step: StepStatus) -> float | None:
    """Return when to ask why a Job has no pod; nothing tells of that by itself."""
    newest = next(reversed(observed.attempts.get(step.name, ())), None)
    if newest is None or newest.state is not AttemptState.ACTIVE or newest.has_pods or newest.suspended:
        return None
    return _REFUSED_CHECK if newest.problem else POD_PATIENCE.total_seconds()


def _soonest(*delays: float | None) -> float | None:
    return min((delay for delay in delays if delay is not None), default=None)
