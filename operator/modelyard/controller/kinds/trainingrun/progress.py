"""What a pass learns about a run, as the status to record. Pure.

Facts are recorded before anything is built on them: a Job is made only from what status says already, so a crash
between any two writes never leaves a Job that status contradicts.
"""

from dataclasses import dataclass
from typing import Final

from modelyard.api.v1alpha1.modelversion import ModelVersion, ModelVersionSpec
from modelyard.api.v1alpha1.names import CHAMPION_INPUT, REGISTER_STEP
from modelyard.api.v1alpha1.trainingrun import (
    DONE,
    Reason,
    RunProgress,
    StepMetric,
    StepState,
    StepStatus,
    TrainingRunSpec,
    TrainingRunStatus,
)
from modelyard.controller.engine.conditions import cut, timestamp
from modelyard.controller.kinds.attempts import BLAMELESS, INCURABLE, Attempt, AttemptState, Resumption
from modelyard.controller.kinds.pods import TAKEN_AWAY, Problem
from modelyard.controller.kinds.trainingrun.caching import Unanswered, look_up, published_identity, ran_identity
from modelyard.controller.kinds.trainingrun.children import MAX_EXPECTATIONS_BYTES, expectations_of, read_record
from modelyard.controller.kinds.trainingrun.inputs import Unresolved, resolve_inputs
from modelyard.controller.kinds.trainingrun.observed import Observed
from modelyard.controller.kinds.trainingrun.results import (
    RegisterResult,
    StepResult,
    newest_metrics,
    read_result,
)

JUDGEMENTS: Final = 5
"""How often a model is judged anew because other versions were published meanwhile."""

STARTED: Final = frozenset({StepState.QUEUED, StepState.RUNNING})
"""States of a step that has a Job which has not ended."""


@dataclass(frozen=True)
class Failure:
    """Why a run fails for good."""

    reason: str
    message: str


@dataclass(frozen=True)
class Progress:
    """What a pass learnt."""

    status: TrainingRunStatus
    """What is to be recorded; its conditions are those that were read."""
    unresolved: Unresolved | None
    """Why the inputs are not known."""
    failure: Failure | None
    """Why the run fails for good."""
    unanswered: str | None = None
    """Identity that must be looked up before more can be learnt."""

    @property
    def succeeded(self) -> bool:
        """Is every step done?"""
        return self.failure is None and all(step.state in DONE for step in self.status.steps)

    @property
    def current(self) -> StepStatus:
        """The step that runs or is to run next, or the last one."""
        steps = self.status.steps
        return next((step for step in steps if step.state not in DONE), steps[-1])


@dataclass(frozen=True)
class Registration:
    """What a register Job that is complete has answered."""

    attempt: Attempt
    record: ModelVersionSpec
    result: RegisterResult


def progress(observed: Observed) -> Progress:
    """Return what this pass learnt about a run that is not finished."""
    known = observed.run.status
    status = _clock(observed)
    resolution = resolve_inputs(observed)
    unresolved = resolution if isinstance(resolution, Unresolved) else None
    steps = tuple(_step(observed, name) for name in observed.step_names)
    status = status.model_copy(
        update={
            "inputs": known.inputs if isinstance(resolution, Unresolved) else resolution,
            "steps": steps,
            "progress": _shown(observed, steps),
            "metrics": _metrics(observed, steps),
            "model_version_name": _version_name(observed),
        }
    )
    if not unresolved and not invalid(observed.run.spec):
        looked_up = look_up(observed.with_status(status))
        if isinstance(looked_up, Unanswered):
            return Progress(status, None, None, looked_up.identity)
        status = looked_up
    learnt = Progress(status, unresolved, None)
    failure = _failure(observed, learnt)
    finished = failure is not None or learnt.succeeded
    status = status.model_copy(
        update={
            "step": learnt.current.name,
            "completion_time": timestamp(observed.now) if finished else None,
        }
    )
    return Progress(status, unresolved, failure)


def step_result(observed: Observed, attempt: Attempt) -> StepResult | None:
    """Return what publish answered, if it speaks of every output of the step."""
    result = read_result(StepResult, answer(observed, attempt))
    wanted = observed.wanted(attempt.step)
    return result if result and {output.name for output in result.outputs} == wanted else None


def registration(observed: Observed) -> Registration | None:
    """Return what the newest attempt of register answered, if it is complete and its answer can be read."""
    attempts = observed.attempts.get(REGISTER_STEP, ())
    if not attempts or attempts[-1].state is not AttemptState.COMPLETE:
        return None
    result = read_result(RegisterResult, answer(observed, attempts[-1]))
    record = read_record(attempts[-1].manifest)
    judged = result is not None and (result.evaluation is None) == (observed.run.spec.evaluation is None)
    return Registration(attempts[-1], record, result) if result and record and judged else None


def judgements(observed: Observed) -> int:
    """Return how often register has judged the model."""
    attempts = observed.attempts.get(REGISTER_STEP, ())
    return sum(attempt.state is AttemptState.COMPLETE for attempt in attempts)


def number_of(version_name: str) -> int:
    """Return the number in the name of a ModelVersion."""
    return int(version_name.rpartition("-v")[2])


def answer(observed: Observed, attempt: Attempt) -> str | None:
    """Return an attempt's answer: from its pod or, when the pod is gone, as the agent found it in the store."""
    if attempt.result:
        return attempt.result
    found = observed.observation.spec.results if observed.observation else ()
    return next((r.result for r in found if (r.step, r.attempt) == (attempt.step, attempt.number)), None)


def elapsed(observed: Observed, status: TrainingRunStatus) -> float:
    """Return the seconds that the run took while it was neither suspended nor in a queue."""
    if status.start_time is None:
        return 0.0
    paused = observed.seconds_since(status.suspended_time) if status.suspended_time else 0.0
    return observed.seconds_since(status.start_time) - status.suspended_seconds - paused


def invalid(spec: TrainingRunSpec) -> str | None:
    """Return what is wrong with a spec although the CRD's rules let it pass, such as those of an older CRD."""
    if len(expectations_of(spec)) > MAX_EXPECTATIONS_BYTES:
        return f"`inputs[*].expectations` must have at most {MAX_EXPECTATIONS_BYTES} bytes as JSON, all together"
    available = {CHAMPION_INPUT, *(item.name for item in spec.inputs)}
    for step in spec.steps:
        for name in step.inputs:
            if name not in available:
                return (
                    f"`steps[{step.name}].inputs` names '{name}': must be an entry of `inputs`, "
                    "an output of an earlier step, or 'champion'"
                )
        available.update(step.outputs)
    outputs = {name for step in spec.steps for name in step.outputs}
    dataset = spec.evaluation.dataset if spec.evaluation else None
    if dataset and dataset.partition("/")[0] not in outputs:
        return f"`evaluation.dataset` is '{dataset}': must name an output of a step"
    return None


def _clock(observed: Observed) -> TrainingRunStatus:
    known, now = observed.run.status, timestamp(observed.now)
    if known.start_time is None:
        return known if observed.run.spec.suspend else known.model_copy(update={"start_time": now})
    if observed.run.spec.suspend or observed.is_queued:
        return known if known.suspended_time else known.model_copy(update={"suspended_time": now})
    if known.suspended_time is None:
        return known
    paused = known.suspended_seconds + max(0, int(observed.seconds_since(known.suspended_time)))
    return known.model_copy(update={"suspended_time": None, "suspended_seconds": paused})


def _step(observed: Observed, name: str) -> StepStatus:
    known = observed.recorded(name)
    if known.state in DONE:
        return known
    if name == REGISTER_STEP and observed.published:
        return _registered(observed, observed.published, known)
    newest = next(reversed(observed.attempts.get(name, ())), None)
    if newest is None or newest.number < known.attempt:
        return _vanished(observed, known) if known.state in STARTED else known
    if known.state is StepState.FAILED and known.attempt == newest.number:
        return known
    return _newest(observed, known, newest)


def _newest(observed: Observed, known: StepStatus, newest: Attempt) -> StepStatus:
    running = StepStatus(
        name=known.name,
        state=StepState.QUEUED if newest.is_queued else StepState.RUNNING,
        job_name=newest.job,
        attempt=newest.number,
        failures=known.failures,
        start_time=newest.started,
        identity=known.identity,
        message=None if known.reason else known.message,
    ).model_copy(update=_counts(known, newest.resumption))
    problem = _loss(known, newest) or newest.problem
    if newest.state is AttemptState.FAILED:
        return _failed(running, newest, problem)
    if newest.state is AttemptState.COMPLETE:
        return _completed(observed, running, newest)
    return _with(running, problem)


def _loss(known: StepStatus, newest: Attempt) -> Problem | None:
    """Return the recorded loss of a pod of a group: it is why the others fail, and that pod is soon gone."""
    if newest.is_group and known.attempt == newest.number and known.reason in TAKEN_AWAY:
        return Problem(known.reason, known.message or "")
    return None


def _counts(known: StepStatus, found: Resumption | None) -> dict[str, int | None]:
    """Return the counts of a step that keeps checkpoints: they only grow, and the pods that tell them go."""
    if found is None:
        return {"resumes": known.resumes, "lost_seconds": known.lost_seconds}
    return {
        "resumes": max(known.resumes or 0, found.resumes),
        "lost_seconds": max(known.lost_seconds or 0, found.lost_seconds),
    }


def _with(step: StepStatus, problem: Problem | None) -> StepStatus:
    return step.model_copy(update={"reason": problem.reason, "message": problem.message}) if problem else step


def _vanished(observed: Observed, known: StepStatus) -> StepStatus:
    if observed.run.spec.suspend:
        return StepStatus(name=known.name, state=StepState.WAITING, attempt=known.attempt, failures=known.failures)
    problem = Problem(Reason.JOB_DELETED, f"Job '{known.job_name}' was deleted before it ended")
    update = {
        "state": StepState.FAILED,
        "failures": known.failures + 1,
        "completion_time": timestamp(observed.now),
    }
    return _with(known.model_copy(update=update), problem)


def _failed(running: StepStatus, newest: Attempt, problem: Problem | None) -> StepStatus:
    problem = problem or Problem(Reason.STEP_FAILED, "for an unknown reason")
    update = {
        "state": StepState.FAILED,
        "failures": running.failures + (problem.reason not in BLAMELESS),
        "completion_time": newest.ended,
    }
    return _with(running.model_copy(update=update), problem)


def _completed(observed: Observed, running: StepStatus, newest: Attempt) -> StepStatus:
    if running.name == REGISTER_STEP:
        return running if registration(observed) else _with(running, _result_missing(newest))
    result = step_result(observed, newest)
    if result is None:
        return _with(running, _result_missing(newest))
    update = {
        "state": StepState.SUCCEEDED,
        "completion_time": newest.ended,
        "outputs": result.outputs,
        "image": newest.image,
        "identity": ran_identity(observed, newest),
    }
    return running.model_copy(update=update)


def _result_missing(attempt: Attempt) -> Problem:
    return Problem(
        Reason.RESULT_MISSING,
        f"the pod of Job '{attempt.job}' went away before its result was read; waiting for the agent to find it "
        f"in the store. To run the step again instead: kubectl delete job {attempt.job}",
    )


def _registered(observed: Observed, published: ModelVersion, known: StepStatus) -> StepStatus:
    return known.model_copy(
        update={
            "state": StepState.SUCCEEDED,
            "completion_time": timestamp(observed.now),
            "reason": None,
            "message": None,
            "identity": published_identity(observed, published),
        }
    )


def _metrics(observed: Observed, steps: tuple[StepStatus, ...]) -> tuple[StepMetric, ...]:
    """Return the metrics of all steps, the newest value of each, when a step has just ended; else those recorded."""
    metrics = observed.run.status.metrics
    for step in steps:
        ended = step.state is StepState.SUCCEEDED and step != observed.recorded(step.name)
        if ended and step.name != REGISTER_STEP:
            result = step_result(observed, observed.attempts[step.name][-1])
            metrics = newest_metrics(metrics, step.name, result.metrics if result else ())
    return metrics


def _shown(observed: Observed, steps: tuple[StepStatus, ...]) -> RunProgress | None:
    """Return what the step that runs says of itself."""
    said = observed.observation.spec.progress if observed.observation else None
    running = {(step.name, step.attempt) for step in steps if step.state is StepState.RUNNING}
    if said is None or (said.step, said.attempt) not in running:
        return None
    return RunProgress.model_validate(said.model_dump(exclude={"step", "attempt"}))


def _version_name(observed: Observed) -> str | None:
    """Return the reserved name: the published version's, or what is recorded while its number may be used.

    A number is given up when somebody has taken it, and when a higher one exists: the champion is the highest accepted
    version, so a later version must not have a lower number. After JUDGEMENTS a lower one is put up with.
    """
    if observed.published:
        return observed.published.metadata.name
    name = observed.run.status.model_version_name
    if name is None or observed.recorded(REGISTER_STEP).state is StepState.CACHED:
        return name
    others = [version.spec.version for version in observed.versions]
    outdated = max(others, default=0) > number_of(name) and judgements(observed) < JUDGEMENTS
    return None if outdated or number_of(name) in others else name


def _failure(observed: Observed, learnt: Progress) -> Failure | None:
    spec = observed.run.spec
    wrong = invalid(spec)
    if wrong:
        return Failure(Reason.INVALID_SPEC, wrong)
    failed = _step_failure(observed, learnt)
    if failed or learnt.succeeded:
        return failed
    limit = spec.active_deadline_seconds
    if limit and elapsed(observed, learnt.status) >= limit:
        return Failure(
            Reason.DEADLINE_EXCEEDED,
            f"the run took longer than its `activeDeadlineSeconds` of {limit}; it was at step '{learnt.current.name}'",
        )
    return None


def _step_failure(observed: Observed, learnt: Progress) -> Failure | None:
    current = learnt.current
    if current.state is not StepState.FAILED:
        return None
    step_limit = next((s.backoff_limit for s in observed.run.spec.steps if s.name == current.name), _ADDED_LIMIT)
    run_limit = observed.run.spec.backoff_limit
    all_failures = sum(step.failures for step in learnt.status.steps)
    what = f"step '{current.name}' failed in attempt {current.attempt}"
    reason = current.reason or Reason.STEP_FAILED
    if reason in INCURABLE:
        return Failure(reason, cut(f"{what}, which another attempt cannot cure: {current.message}"))
    if current.failures > step_limit:
        return Failure(reason, cut(f"{what}, its `backoffLimit` is {step_limit}: {current.message}"))
    if all_failures > run_limit:
        counted = f"the run has {all_failures} failed attempts, more than its `backoffLimit` of {run_limit}"
        return Failure(Reason.BACKOFF_LIMIT_EXCEEDED, cut(f"{what}, {counted}: {current.message}"))
    return None


_ADDED_LIMIT: Final = 2
"""Failed attempts of a step that Modelyard adds which are tried again."""
