"""Conditions and events: what a roll-out looks like from outside. Pure."""

from datetime import datetime, timedelta
from typing import Final

from modelyard.api.v1alpha1.deployment import Candidate, ConditionType, Reason
from modelyard.controller.engine.conditions import Condition, ConditionStatus, timestamp
from modelyard.controller.engine.plan import Event
from modelyard.controller.kinds.deployment.observed import Observed
from modelyard.controller.kinds.deployment.rollout import Rollout
from modelyard.controller.kinds.deployment.workload import Workload
from modelyard.controller.kinds.pods import POD_REFUSED, Problem, diagnose

ROLLOUT_STARTED: Final = "RolloutStarted"
ROLLED_OUT: Final = "RolledOut"
ROLLOUT_STUCK: Final = "RolloutStuck"
FELL_BACK: Final = "FellBack"

_NEEDS_A_PERSON: Final = frozenset(
    {Reason.DIGEST_MISMATCH, Reason.RETIRED, Reason.ARTIFACT_UNAVAILABLE, Reason.NOT_CONVERTED}
)
"""Reasons that do not go away by waiting."""


def conditions(observed: Observed, rollout: Rollout) -> tuple[Condition, ...]:
    """Return all conditions of the Deployment."""
    resolved, available, rolled_out = (
        _model_resolved(observed, rollout),
        _available(observed, rollout),
        _rolled_out(observed, rollout),
    )
    stalled = _stalled(resolved, rolled_out)
    return (
        _ready(observed, rollout, (resolved, rolled_out, available)),
        resolved,
        available,
        rolled_out,
        stalled if stalled else _reconciling(observed, rollout, rolled_out),
    )


def events(observed: Observed, rollout: Rollout, reported: tuple[Condition, ...]) -> tuple[Event, ...]:
    """Return what changed in this pass."""
    status = observed.deployment.status
    told = []
    begun = status.candidate.revision if status.candidate else None
    if rollout.candidate and rollout.target and rollout.candidate.id != begun:
        started = f"version {rollout.candidate.version} is rolled out as revision {rollout.candidate.id}"
        if rollout.target.fallback:
            told.append(Event("Warning", FELL_BACK, f"{started}: {rollout.target.why}"))
        else:
            told.append(Event("Normal", ROLLOUT_STARTED, f"{started}: {rollout.target.why}"))
    if rollout.stable and rollout.history != status.history:
        message = f"version {rollout.stable.version} serves as revision {rollout.stable.revision}"
        told.append(Event("Normal", ROLLED_OUT, message))
    told += [
        Event("Warning", ROLLOUT_STUCK, condition.message)
        for condition in reported
        if condition.reason == Reason.PROGRESS_DEADLINE_EXCEEDED
        and condition.type == ConditionType.ROLLED_OUT
        and not _was(observed, condition)
    ]
    return tuple(told)


def candidate(observed: Observed, rollout: Rollout) -> Candidate | None:
    """Return the candidate as status has it, with the time since when it is rolled out."""
    if rollout.candidate is None:
        return None
    known = observed.deployment.status.candidate
    same = known is not None and known.revision == rollout.candidate.id
    return Candidate(
        version=rollout.candidate.version,
        digest=rollout.candidate.digest,
        revision=rollout.candidate.id,
        start_time=known.start_time if known and same else timestamp(observed.now),
    )


def deadline(observed: Observed, begun: Candidate) -> datetime:
    """Return when a candidate is reported as stuck."""
    seconds = observed.deployment.spec.rollout.progress_deadline_seconds
    return datetime.fromisoformat(begun.start_time) + timedelta(seconds=seconds)


def _model_resolved(observed: Observed, rollout: Rollout) -> Condition:
    if rollout.blocked and rollout.blocked.reason is not Reason.PAUSED:
        return _condition(ConditionType.MODEL_RESOLVED, "False", rollout.blocked.reason, _instead(observed, rollout))
    message = f"version {rollout.wanted} of '{observed.deployment.spec.model.name}'"
    return _condition(ConditionType.MODEL_RESOLVED, "True", Reason.RESOLVED, message)


def _instead(observed: Observed, rollout: Rollout) -> str:
    """Say why not what the spec asks for, and what serves instead."""
    why = rollout.blocked.message if rollout.blocked else ""
    if rollout.stable is None:
        return why
    reference = observed.deployment.spec.model
    asked = f"version {reference.version}" if reference.version else f"the champion of '{reference.name}'"
    return f"asked for {asked}, serving version {rollout.stable.version}, because {why}"


def _available(observed: Observed, rollout: Rollout) -> Condition:
    if observed.size == 0:
        message = "nothing serves, because `spec.endpoint.replicas` is 0"
        return _condition(ConditionType.AVAILABLE, "False", Reason.SCALED_TO_ZERO, message)
    ready = observed.ready(rollout.carrier) if rollout.carrier else 0
    if ready:
        message = f"{ready} of {observed.size} pods are ready"
        return _condition(ConditionType.AVAILABLE, "True", Reason.SERVING, message)
    problem = _problem(observed, rollout.carrier) if rollout.carrier else None
    message = "no pod is ready" + (f": {problem.message}" if problem else "")
    return _condition(ConditionType.AVAILABLE, "False", Reason.NO_READY_REPLICAS, message)


def _rolled_out(observed: Observed, rollout: Rollout) -> Condition:
    begun = candidate(observed, rollout)
    if begun:
        late = observed.now >= deadline(observed, begun)
        return _progress(observed, rollout, begun.revision, begun.version, late=late)
    if rollout.blocked and rollout.blocked.reason is Reason.PAUSED:
        return _condition(ConditionType.ROLLED_OUT, "Unknown", Reason.PAUSED, _instead(observed, rollout))
    if rollout.stable is None:
        reason = rollout.blocked.reason if rollout.blocked else Reason.PROGRESSING
        return _condition(ConditionType.ROLLED_OUT, "Unknown", reason, "there is nothing to roll out")
    if rollout.serving and observed.is_rolled(rollout.serving):
        message = f"version {rollout.stable.version} is rolled out"
        return _condition(ConditionType.ROLLED_OUT, "True", Reason.COMPLETED, message)
    workload = observed.workloads.get(rollout.stable.revision)
    late = workload is not None and workload.stuck
    return _progress(observed, rollout, rollout.stable.revision, rollout.stable.version, late=late)


def _progress(observed: Observed, rollout: Rollout, revision: str, version: int, *, late: bool) -> Condition:
    problem = _problem(observed, revision)
    ready = f"version {version}: {observed.ready(revision)} of {observed.size} pods are ready"
    if rollout.stable and rollout.candidate:
        ready += f"; version {rollout.stable.version} goes on serving"
    message = f"{ready}; {problem.message}" if problem else ready
    if late:
        seconds = observed.deployment.spec.rollout.progress_deadline_seconds
        message = f"not ready within {seconds} s; {message}"
        return _condition(ConditionType.ROLLED_OUT, "False", Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return _condition(ConditionType.ROLLED_OUT, "False", problem.reason if problem else Reason.PROGRESSING, message)


def _problem(observed: Observed, revision: str) -> Problem | None:
    """Return what keeps the pods of a revision from being ready, as far as one of them shows it."""
    workload: Workload | None = observed.workloads.get(revision)
    if workload and workload.refused is not None:
        return Problem(POD_REFUSED, workload.refused)
    found = (diagnose(pod) for pod in observed.pods_of(revision))
    return next((problem for problem in found if problem), None)


def _ready(observed: Observed, rollout: Rollout, parts: tuple[Condition, ...]) -> Condition:
    """Sum up: the first part that is not as asked says why; the parts go from cause to effect."""
    for part in parts:
        if part.status != "True" and part.reason != Reason.SCALED_TO_ZERO:
            return _condition(ConditionType.READY, "False", part.reason, part.message)
    if observed.size == 0:
        return _condition(ConditionType.READY, "True", Reason.SCALED_TO_ZERO, parts[-1].message)
    version = rollout.stable.version if rollout.stable else rollout.wanted
    return _condition(ConditionType.READY, "True", Reason.SERVING, f"version {version} serves")


def _stalled(resolved: Condition, rolled_out: Condition) -> Condition | None:
    for part in (resolved, rolled_out):
        if part.reason in _NEEDS_A_PERSON or part.reason == Reason.PROGRESS_DEADLINE_EXCEEDED:
            return _condition(ConditionType.STALLED, "True", part.reason, part.message)
    return None


def _reconciling(observed: Observed, rollout: Rollout, rolled_out: Condition) -> Condition:
    unfinished = rolled_out.status == "False" or (
        rollout.carrier is not None and observed.ready(rollout.carrier) < observed.size
    )
    reason = rolled_out.reason if rolled_out.status == "False" else Reason.PROGRESSING
    return _condition(ConditionType.RECONCILING, "True" if unfinished else "False", reason, rolled_out.message)


def _was(observed: Observed, condition: Condition) -> bool:
    before = observed.deployment.status.conditions
    return any(c.type == condition.type and c.reason == condition.reason for c in before)


def _condition(type_: ConditionType, status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(type_.value, status, str(reason), message)
