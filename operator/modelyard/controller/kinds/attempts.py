"""The attempts of steps, as Jobs and their pods show them. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from modelyard.api.v1alpha1.names import LABEL_ATTEMPT, LABEL_QUEUE, LABEL_STEP
from modelyard.api.v1alpha1.trainingrun import Reason
from modelyard.controller.engine.conditions import cut, find_condition, is_true
from modelyard.controller.engine.manifests import Manifest, name_of
from modelyard.controller.kinds import pods as reasons
from modelyard.controller.kinds.pods import TAKEN_AWAY, Problem, diagnose, disruption, failure_time, taken_away

CURABLE: Final = frozenset(
    {
        reasons.IMAGE_PULL_FAILED,
        reasons.CONFIGURATION_MISSING,
        reasons.UNSCHEDULABLE,
        reasons.POD_REFUSED,
        reasons.START_FAILED,
    }
)
"""Problems of a pod that has not failed: it goes on by itself once the cause is gone."""

POD_PATIENCE: Final = timedelta(seconds=5)
"""How long a Job may be without pods before it is asked why."""

INCURABLE: Final = frozenset(
    {
        "ArtifactCorrupt",
        "ChampionUnusable",
        "DataInvalid",
        "DatasetInvalid",
        "DigestMismatch",
        "InvalidModel",
        "InvalidSource",
        "MetricMissing",
        "OutputEmpty",
        "OutputMissing",
        "OutputRefused",
    }
)
"""Failures that the same attempt would meet again: not tried again."""

BLAMELESS: Final = frozenset({"AccessDenied", "InputNotFound", "RefNotFound", "StoreUnreachable"}) | reasons.TAKEN_AWAY
"""Failures by the store or by what took the pod away: tried again without counting against the limits."""

FIRST_DELAY: Final = timedelta(seconds=10)
LAST_DELAY: Final = timedelta(minutes=5)
_DOUBLINGS: Final = 5
_INDEX_LABEL: Final = "batch.kubernetes.io/job-completion-index"
_POD_FAILURE_POLICY: Final = "PodFailurePolicy"
_IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}")


class AttemptState(Enum):
    """Where a Job stands."""

    ACTIVE = "Active"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class Resumption:
    """What fetch says of a step that keeps checkpoints, over all of its pods."""

    resumes: int
    lost_seconds: int


@dataclass(frozen=True)
class Attempt:
    """One attempt of one step: a Job."""

    step: str
    number: int
    state: AttemptState
    manifest: Manifest
    started: str | None
    ended: str | None
    problem: Problem | None
    """Why it failed or, while it is active, what keeps it from getting on."""
    result: str | None
    """What its main container answered."""
    image: str | None
    """The image of its main work, by digest where the node knew it."""
    has_pods: bool
    """Is a pod of it known?"""
    resumption: Resumption | None = None
    """What its newest pod went on from."""

    @property
    def job(self) -> str:
        """Name of the Job."""
        return name_of(self.manifest)

    @property
    def is_group(self) -> bool:
        """Does it have several pods, which end and start together?"""
        return _is_group(self.manifest)

    @property
    def queue(self) -> str | None:
        """The queue of Kueue that starts and stops the Job; None when we do."""
        name: str | None = self.manifest["metadata"].get("labels", {}).get(LABEL_QUEUE)
        return name

    @property
    def is_queued(self) -> bool:
        """Does it wait in its queue?"""
        return self.queue is not None and self.suspended and self.state is AttemptState.ACTIVE

    @property
    def suspended(self) -> bool:
        """Is the Job told to have no pods?"""
        return bool(self.manifest["spec"].get("suspend", False))

    def lacks_pods(self, now: datetime) -> bool:
        """Say whether it should have had a pod for some seconds."""
        waits = self.state is AttemptState.ACTIVE and not self.suspended and not self.has_pods
        return waits and self.started is not None and now - datetime.fromisoformat(self.started) >= POD_PATIENCE


def attempts_of(
    jobs: Iterable[Manifest], pods: Sequence[Manifest], refusals: Mapping[str, Problem]
) -> dict[str, tuple[Attempt, ...]]:
    """Return the attempts of each step, oldest first.

    Args:
        jobs: the Jobs of one object; what has no step and attempt is ignored.
        pods: the pods of these Jobs.
        refusals: by Job, why its pods may not be created.
    """
    attempts: dict[str, list[Attempt]] = {}
    for job in jobs:
        step, number = _identity(job)
        if step and number:
            own = [pod for pod in pods if _identity(pod) == (step, number)]
            attempts.setdefault(step, []).append(_attempt(step, number, job, own, refusals.get(name_of(job))))
    return {step: tuple(sorted(found, key=lambda a: a.number)) for step, found in attempts.items()}


def retry_delay(attempt: int) -> timedelta:
    """Return the wait between the end of a failed attempt and the next one."""
    doublings = min(max(attempt - 1, 0), _DOUBLINGS)
    return min(LAST_DELAY, FIRST_DELAY * (1 << doublings))


def _identity(manifest: Manifest) -> tuple[str, int]:
    labels = manifest["metadata"].get("labels", {})
    number = labels.get(LABEL_ATTEMPT, "")
    return labels.get(LABEL_STEP, ""), int(number) if number.isascii() and number.isdigit() else 0


def _attempt(step: str, number: int, job: Manifest, pods: list[Manifest], refusal: Problem | None) -> Attempt:
    status = job.get("status", {})
    conditions = status.get("conditions", ())
    failed = find_condition(conditions, "Failed") if is_true(conditions, "Failed") else None
    newest_first = sorted(pods, key=_creation, reverse=True)
    if failed:
        state, ended, problem = (
            AttemptState.FAILED,
            failed.get("lastTransitionTime"),
            _failure(job, failed, newest_first),
        )
    elif is_true(conditions, "Complete"):
        state, ended, problem = AttemptState.COMPLETE, status.get("completionTime"), None
    else:
        state, ended, problem = AttemptState.ACTIVE, None, _obstacle(job, newest_first, refusal)
    first = [pod for pod in newest_first if _rank(pod) == 0]
    succeeded = next((pod for pod in first if pod.get("status", {}).get("phase") == "Succeeded"), None)
    return Attempt(
        step=step,
        number=number,
        state=state,
        manifest=job,
        started=status.get("startTime"),
        ended=ended,
        problem=problem,
        result=_answer(succeeded) if succeeded else None,
        image=_image(succeeded) if succeeded else None,
        has_pods=bool(pods),
        resumption=next(filter(None, map(_resumption, first)), None),
    )


def _creation(pod: Manifest) -> tuple[str, str]:
    return str(pod["metadata"].get("creationTimestamp", "")), name_of(pod)


def _is_group(job: Manifest) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def _rank(pod: Manifest) -> int:
    """Return which pod of its group it is, from 0; a pod that is alone is the first."""
    return int(pod["metadata"].get("labels", {}).get(_INDEX_LABEL, "0"))


def _failure(job: Manifest, failed: Mapping[str, Any], newest_first: list[Manifest]) -> Problem:
    """Return why the Job failed: what its pods say, unless the Job ran out of time or they are gone."""
    if failed.get("reason") == Reason.DEADLINE_EXCEEDED:
        return Problem(Reason.DEADLINE_EXCEEDED, "it took longer than the step's `activeDeadlineSeconds`")
    cause = failed.get("message") or failed.get("reason") or "unknown"
    if _is_group(job):
        return _group_failure(failed, newest_first, cause)
    if newest_first and (taken := taken_away(newest_first[0])):
        return taken
    problems = [problem for problem in map(diagnose, newest_first) if problem]
    problem = next((p for p in problems if p.reason not in TAKEN_AWAY), problems[0] if problems else None)
    return _named(problem) if problem else Problem(Reason.POD_DELETED, f"its pod was deleted, the Job says: {cause}")


def _group_failure(failed: Mapping[str, Any], pods: list[Manifest], cause: str) -> Problem:
    """Return why a group failed: by the loss of a pod, else by the pod that failed first and took the others along."""
    disrupted = next(filter(None, map(disruption, pods)), None)
    if disrupted or failed.get("reason") == _POD_FAILURE_POLICY:
        return disrupted or Problem(reasons.NODE_LOST, f"the Job says: {cause}")
    found = [(failure_time(pod), _rank(pod), problem) for pod in pods if (problem := diagnose(pod))]
    if not found:
        return Problem(Reason.STEP_FAILED, f"its pods are gone, the Job says: {cause}")
    _, rank, problem = min(found, key=lambda entry: entry[:2])
    named = _named(problem)
    return Problem(named.reason, cut(f"rank {rank}: {named.message}"), named.container)


def _named(problem: Problem) -> Problem:
    if problem.reason == reasons.CONTAINER_FAILED:
        return Problem(Reason.STEP_FAILED, problem.message, problem.container)
    return problem


def _obstacle(job: Manifest, newest_first: list[Manifest], refusal: Problem | None) -> Problem | None:
    """Return what keeps an active Job from getting on: its newest pod's problem, or that of any pod of a group."""
    if not newest_first:
        return refusal
    told = newest_first if _is_group(job) else newest_first[:1]
    problem = next((p for p in map(diagnose, told) if p and p.reason in CURABLE), None)
    if problem:
        return problem
    # The Job itself deletes the pods of one that is suspended or has failed.
    ends = job["spec"].get("suspend") or is_true(job.get("status", {}).get("conditions", ()), "FailureTarget")
    return next(filter(None, map(disruption if ends else taken_away, told)), None)


def _answer(pod: Manifest) -> str | None:
    statuses = pod["status"].get("containerStatuses", ())
    return next((s["state"]["terminated"].get("message") for s in statuses if "terminated" in s.get("state", {})), None)


def _resumption(pod: Manifest) -> Resumption | None:
    statuses = pod.get("status", {}).get("initContainerStatuses", ())
    fetch: Mapping[str, Any] = next((s for s in statuses if s["name"] == "fetch"), {})
    terminated = fetch.get("state", {}).get("terminated") or {}
    try:
        answer = json.loads(terminated.get("message", "")) if terminated.get("exitCode") == 0 else None
    except ValueError:
        return None
    match answer:
        case {"resumes": int(resumes), "lostSeconds": int(lost_seconds)}:
            return Resumption(resumes, lost_seconds)
        case _:
            return None


def _image(pod: Manifest) -> str | None:
    """Return what ran: the last init container is the step's own work, register has its work in the main container."""
    statuses = {s["name"]: s for s in _container_statuses(pod)}
    work: Mapping[str, Any] = statuses.get("run") or statuses.get("register") or {}
    image_id = str(work.get("imageID", "")).rpartition("://")[2]
    image = image_id if "@sha256:" in image_id else str(work.get("image", ""))
    return image if _IMAGE.fullmatch(image) else None


def _container_statuses(pod: Manifest) -> list[Mapping[str, Any]]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
