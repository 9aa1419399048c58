"""What a run's conditions and events say. Pure."""

from datetime import datetime

from modelyard.api.v1alpha1.names import REGISTER_STEP
from modelyard.api.v1alpha1.trainingrun import ConditionType, Reason, StepState, StepStatus
from modelyard.controller.engine.conditions import Condition, ConditionStatus, cut, timestamp
from modelyard.controller.engine.plan import Event
from modelyard.controller.kinds.attempts import retry_delay
from modelyard.controller.kinds.trainingrun.observed import Observed
from modelyard.controller.kinds.trainingrun.progress import Progress


def conditions(observed: Observed, learnt: Progress) -> tuple[Condition, ...]:
    """Return all conditions of a run that has just been looked at."""
    ready = _ready(observed, learnt)
    inputs = _inputs_resolved(observed, learnt)
    admitted = Condition(ConditionType.ADMITTED, "True", Reason.ADMITTED)
    if observed.run.spec.suspend:
        admitted = Condition(ConditionType.ADMITTED, "False", Reason.SUSPENDED, "`spec.suspend` is set")
    elif learnt.current.state is StepState.QUEUED:
        admitted = Condition(ConditionType.ADMITTED, "False", Reason.QUEUED, _queued(observed, learnt))
    if learnt.failure:
        succeeded = Condition(ConditionType.SUCCEEDED, "False", ready.reason, ready.message)
        progress = Condition(ConditionType.STALLED, "True", ready.reason, ready.message)
    elif learnt.succeeded:
        succeeded = Condition(ConditionType.SUCCEEDED, "True", ready.reason, ready.message)
        progress = Condition(ConditionType.RECONCILING, "False", ready.reason)
    else:
        succeeded = Condition(ConditionType.SUCCEEDED, "Unknown", Reason.RUNNING, "the run has not ended")
        working: ConditionStatus = "False" if observed.run.spec.suspend else "True"
        progress = Condition(ConditionType.RECONCILING, working, ready.reason, ready.message)
    return (ready, admitted, inputs, succeeded, progress)


def events(observed: Observed, learnt: Progress) -> tuple[Event, ...]:
    """Return what has happened since status was recorded."""
    happened = [event for step in learnt.status.steps for event in _step_events(observed, learnt, step)]
    if learnt.failure:
        happened.append(Event("Warning", "RunFailed", f"{learnt.failure.reason}: {learnt.failure.message}"))
    elif learnt.succeeded:
        happened.append(Event("Normal", "RunSucceeded", _success(observed, learnt)))
    return tuple(happened)


def title(learnt: Progress, step: StepStatus) -> str:
    """Return how a step is called, such as "step 2 of 3 'train'"."""
    names = [known.name for known in learnt.status.steps]
    return f"step {names.index(step.name) + 1} of {len(names)} '{step.name}'"


def _ready(observed: Observed, learnt: Progress) -> Condition:
    if learnt.failure:
        return Condition(ConditionType.READY, "False", learnt.failure.reason, learnt.failure.message)
    if learnt.succeeded:
        return Condition(ConditionType.READY, "True", Reason.SUCCEEDED, _success(observed, learnt))
    if observed.run.spec.suspend:
        message = "the run is suspended: set `spec.suspend` to false to go on"
        return Condition(ConditionType.READY, "False", Reason.SUSPENDED, message)
    if learnt.unresolved:
        wait = learnt.unresolved
        return Condition(ConditionType.READY, wait.status, wait.reason, wait.message)
    if learnt.current.state is StepState.QUEUED:
        return Condition(ConditionType.READY, "False", Reason.QUEUED, _queued(observed, learnt))
    return _running(learnt, learnt.current)


def _queued(observed: Observed, learnt: Progress) -> str:
    step = learnt.current
    queue = observed.attempts[step.name][-1].queue
    return f"{title(learnt, step)} waits in the queue '{queue}' until Kueue starts Job '{step.job_name}'"


def _running(learnt: Progress, step: StepStatus) -> Condition:
    name = title(learnt, step)
    if step.state is StepState.FAILED and step.completion_time:
        start = timestamp(datetime.fromisoformat(step.completion_time) + retry_delay(step.attempt))
        message = f"{name} failed in attempt {step.attempt}, the next one starts at {start}: {step.message}"
        return Condition(ConditionType.READY, "False", step.reason or Reason.STEP_FAILED, cut(message))
    if step.reason:
        message = f"{name} does not get on (attempt {step.attempt}): {step.message}"
        status: ConditionStatus = "Unknown" if step.reason == Reason.RESULT_MISSING else "False"
        return Condition(ConditionType.READY, status, step.reason, cut(message))
    if step.state is StepState.RUNNING:
        message = f"{name} is running (attempt {step.attempt})"
    elif step.candidate:
        question = f"whether the outputs of run '{step.candidate.training_run}' are still in the store"
        message = f"{name} was run before: the agent is asked {question}"
    else:
        message = f"{name} is about to start"
    return Condition(ConditionType.READY, "Unknown", Reason.RUNNING, message)


def _success(observed: Observed, learnt: Progress) -> str:
    name, last = learnt.status.model_version_name, learnt.current
    if name is None:
        ran = any(step.state is StepState.SUCCEEDED for step in learnt.status.steps)
        return "all steps succeeded" if ran else "nothing changed: all steps were run before"
    if last.state is not StepState.CACHED:
        return f"all steps succeeded; published ModelVersion '{name}'"
    version = next((version for version in observed.versions if version.metadata.name == name), None)
    retired = f", and is retired: {version.spec.retired.reason}" if version and version.spec.retired else ""
    return cut(f"nothing changed: same as {name}, which run '{last.taken_from}' made{retired}")


def _inputs_resolved(observed: Observed, learnt: Progress) -> Condition:
    wait = learnt.unresolved
    if wait:
        return Condition(ConditionType.INPUTS_RESOLVED, wait.status, wait.reason, wait.message)
    count = len(observed.run.spec.inputs)
    message = f"the digests of {count} inputs are recorded in `status.inputs`" if count else "the run has no inputs"
    return Condition(ConditionType.INPUTS_RESOLVED, "True", Reason.RESOLVED, message)


def _step_events(observed: Observed, learnt: Progress, step: StepStatus) -> list[Event]:
    before = observed.recorded(step.name)
    name = title(learnt, step)
    happened = []
    if step.attempt > before.attempt:
        happened.append(Event("Normal", "StepStarted", f"{name} started (attempt {step.attempt}, Job {step.job_name})"))
    if (step.resumes or 0) > (before.resumes or 0):
        lost = f"{step.lost_seconds} s of work were lost so far"
        happened.append(Event("Normal", "StepResumed", f"{name} goes on from a checkpoint; {lost}"))
    if step.state is before.state and step.attempt == before.attempt:
        return happened
    if step.state is StepState.FAILED:
        message = f"{name} failed in attempt {step.attempt}: {step.reason}: {step.message}"
        happened.append(Event("Warning", "StepFailed", cut(message)))
    if step.state is StepState.CACHED:
        happened.append(Event("Normal", "StepCached", f"{name} did not run: {step.message}"))
    if step.state is StepState.SUCCEEDED and step.name == REGISTER_STEP:
        happened.append(Event("Normal", "ModelVersionPublished", _published(observed)))
    elif step.state is StepState.SUCCEEDED:
        happened.append(Event("Normal", "StepSucceeded", f"{name} succeeded in attempt {step.attempt}"))
    return happened


def _published(observed: Observed) -> str:
    version = observed.published
    if version is None:
        return ""
    evaluation = version.spec.evaluation
    verdict = f": {evaluation.verdict}. {evaluation.message}" if evaluation else ", which was not evaluated"
    return cut(f"made ModelVersion {version.metadata.name}{verdict}")
