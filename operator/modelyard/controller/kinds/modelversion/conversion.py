"""How far a Pickle is on its way to ONNX, and what is done next. Pure and total.

As in a run, facts are recorded before anything is built on them: an attempt is made only from what status says already,
and what has ended for good is in status alone, so that its Job may go.
"""

from dataclasses import dataclass
from typing import Final

from modelyard.api.v1alpha1.modelversion import ConditionType, Conversion, ConvertedArtifact, Reason, Refusal
from modelyard.api.v1alpha1.names import conversion_job_name
from modelyard.api.v1alpha1.trainingrun import Reason as RunReason
from modelyard.controller.engine.conditions import Condition, ConditionStatus, cut, timestamp
from modelyard.controller.engine.manifests import Manifest, Ref, ref_of
from modelyard.controller.kinds.attempts import (
    BLAMELESS,
    INCURABLE,
    POD_PATIENCE,
    Attempt,
    AttemptState,
    retry_delay,
)
from modelyard.controller.kinds.modelversion.children import DEADLINE_SECONDS, build_conversion_job
from modelyard.controller.kinds.modelversion.observed import Observed
from modelyard.controller.kinds.pods import OUT_OF_MEMORY, Problem
from modelyard.controller.kinds.trainingrun.results import StepResult, read_result

LIMIT: Final = 3
"""Attempts that may fail by other causes than the store's absence."""
_REFUSALS: Final = frozenset(refusal.value for refusal in Refusal)
_AGAIN: Final = "to try again, delete the ModelVersion and apply it anew"
_REFUSED_CHECK: Final = 30.0
"""Seconds between two looks at a Job whose pods may not be created."""


@dataclass(frozen=True)
class Progress:
    """What a pass learnt of a conversion, and what it does."""

    status: Conversion
    condition: Condition
    create: tuple[Manifest, ...] = ()
    delete: tuple[Ref, ...] = ()
    requeue_after: float | None = None


def advance(observed: Observed, artifact: Condition) -> Progress:
    """Return the next step of a Pickle's conversion.

    Args:
        observed: the version and its Jobs.
        artifact: the condition ArtifactAvailable.
    """
    known, recorded = observed.conversion, observed.recorded(ConditionType.CONVERTED)
    newest = observed.attempts[-1] if observed.attempts else None
    if known.artifact:
        return Progress(known, _converted(known), delete=_jobs(observed))
    if recorded and is_settled(observed):
        return Progress(known, recorded)
    if newest and newest.number >= known.attempt + (not observed.is_converting):
        return _newest(observed, known, newest)
    if observed.is_converting:
        job = conversion_job_name(observed.version.metadata.name, known.attempt)
        return _failed(observed, known, Problem(RunReason.JOB_DELETED, f"Job '{job}' was deleted before it ended"))
    return _next(observed, known, artifact, recorded)


def is_settled(observed: Observed) -> bool:
    """Say whether a conversion has failed for good."""
    recorded = observed.recorded(ConditionType.CONVERTED)
    return recorded is not None and recorded.status == "False"


def _newest(observed: Observed, known: Conversion, newest: Attempt) -> Progress:
    """Return what is learnt of an attempt whose end is not recorded."""
    running = known.model_copy(update={"attempt": newest.number, "last_failure_time": None})
    if newest.state is AttemptState.FAILED:
        return _failed(observed, running, newest.problem or Problem(RunReason.STEP_FAILED, "for an unknown reason"))
    if newest.state is AttemptState.COMPLETE:
        return _completed(observed, running, newest)
    if newest.problem:
        condition = _condition("Unknown", Reason.CONVERTING, f"{newest.problem.reason}: {newest.problem.message}")
    else:
        condition = _condition("Unknown", Reason.CONVERTING, f"Job '{newest.job}' converts the pickle to ONNX")
    waits = None if newest.has_pods else _REFUSED_CHECK if newest.problem else POD_PATIENCE.total_seconds()
    return Progress(running, condition, requeue_after=waits)


def _completed(observed: Observed, running: Conversion, newest: Attempt) -> Progress:
    result = read_result(StepResult, newest.result)
    metrics = {metric.name: metric.value for metric in result.metrics} if result else {}
    if result is None or len(result.outputs) != 1 or not {"maximumDifference", "rows"} <= metrics.keys():
        # It is made again: equal bytes are published under the same name.
        return _failed(observed, running, Problem(RunReason.RESULT_MISSING, "its pod went away before it was read"))
    output = result.outputs[0]
    status = running.model_copy(
        update={
            "artifact": ConvertedArtifact(uri=output.uri, digest=output.digest, bytes=output.bytes),
            "maximum_difference": metrics["maximumDifference"],
            "rows": int(float(metrics["rows"])),
        }
    )
    return Progress(status, _converted(status), delete=_jobs(observed))


def _failed(observed: Observed, running: Conversion, problem: Problem) -> Progress:
    failures = running.failures + (problem.reason not in BLAMELESS)
    status = running.model_copy(update={"failures": failures, "last_failure_time": timestamp(observed.now)})
    message = problem.message
    if problem.reason == RunReason.DEADLINE_EXCEEDED:
        message = f"it took longer than {DEADLINE_SECONDS} s"
    if problem.reason == OUT_OF_MEMORY:
        return Progress(status, _condition("False", Refusal.LIMIT_EXCEEDED, "the conversion needs too much memory"))
    if problem.reason in _REFUSALS:
        return Progress(status, _condition("False", problem.reason, message))
    cause = f"attempt {running.attempt} failed by {problem.reason}: {message}"
    if problem.reason in INCURABLE or failures >= LIMIT:
        return Progress(status, _condition("False", Reason.CONVERSION_FAILED, f"{cause}; {_AGAIN}"))
    delay = retry_delay(running.attempt)
    again = _condition("Unknown", Reason.CONVERTING, f"{cause}; the next one starts by itself")
    return Progress(status, again, requeue_after=delay.total_seconds())


def _next(observed: Observed, known: Conversion, artifact: Condition, recorded: Condition | None) -> Progress:
    """Start the first attempt, or another one when its time has come."""
    if observed.version.spec.retired:
        return Progress(known, _condition("Unknown", Reason.RETIRED, "a retired version is not converted"))
    if artifact.status == "False":
        return Progress(known, _condition("Unknown", artifact.reason, f"waits for the pickle: {artifact.message}"))
    wait = 0.0
    if known.last_failure_time:
        wait = retry_delay(known.attempt).total_seconds() - observed.seconds_since(known.last_failure_time)
    if wait > 0 and recorded:
        return Progress(known, recorded, requeue_after=wait)
    attempt = known.attempt + 1
    job = build_conversion_job(observed.manifest, observed.version, observed.images, attempt)
    message = f"Job '{conversion_job_name(observed.version.metadata.name, attempt)}' converts the pickle to ONNX"
    return Progress(known, _condition("Unknown", Reason.CONVERTING, message), create=(job,))


def _jobs(observed: Observed) -> tuple[Ref, ...]:
    return tuple(ref_of(attempt.manifest) for attempt in observed.attempts)


def _converted(status: Conversion) -> Condition:
    message = f"the ONNX form differs by at most {status.maximum_difference} on {status.rows} sample rows"
    return _condition("True", Reason.CONVERTED, message)


def _condition(status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(ConditionType.CONVERTED, status, reason, cut(message))
