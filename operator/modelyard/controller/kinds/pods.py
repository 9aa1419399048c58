"""Why a pod does not do its work, as one reason and one sentence for people. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Object = Mapping[str, Any]

IMAGE_PULL_FAILED: Final = "ImagePullFailed"
CONFIGURATION_MISSING: Final = "ConfigurationMissing"
UNSCHEDULABLE: Final = "Unschedulable"
POD_REFUSED: Final = "PodRefused"
START_FAILED: Final = "StartFailed"
OUT_OF_MEMORY: Final = "OutOfMemory"
CRASH_LOOP: Final = "CrashLoop"
CONTAINER_FAILED: Final = "ContainerFailed"
EVICTED: Final = "Evicted"
PREEMPTED: Final = "Preempted"
NODE_LOST: Final = "NodeLost"
DRAINED: Final = "Drained"
POD_DELETED: Final = "PodDeleted"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"

TAKEN_AWAY: Final = frozenset({PREEMPTED, DRAINED, NODE_LOST, POD_DELETED})
"""What happens to a pod by no fault of its own."""

OUR_CONTAINERS: Final = frozenset({"fetch", "convert", "publish", "register", "server", "validate"})
"""Containers whose termination message is a verdict; what user code prints is only quoted."""

MESSAGE_LIMIT: Final = 700
_LOG_LIMIT: Final = 500
_LOG_LINES: Final = 8

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_START_REASONS: Final = frozenset(
    {"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun", "PostStartHookError"}
)
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": PREEMPTED,
    "EvictionByEvictionAPI": DRAINED,
    "DeletionByTaintManager": NODE_LOST,
    "DeletionByPodGC": NODE_LOST,
    "TerminationByKubelet": NODE_LOST,
}
_POD_REASONS: Final = {
    "Evicted": EVICTED,
    "DeadlineExceeded": DEADLINE_EXCEEDED,
    "Preempting": PREEMPTED,
    "NodeLost": NODE_LOST,
    "NodeShutdown": NODE_LOST,
    "Terminated": NODE_LOST,
    "Shutdown": NODE_LOST,
}
_EXITS: Final = {
    126: "the command cannot be executed",
    127: "the command was not found",
    129: "SIGHUP",
    130: "SIGINT",
    131: "SIGQUIT",
    132: "SIGILL",
    133: "SIGTRAP",
    134: "SIGABRT",
    135: "SIGBUS",
    136: "SIGFPE",
    137: "SIGKILL, which a lack of memory causes too",
    139: "SIGSEGV",
    141: "SIGPIPE",
    143: "SIGTERM",
    152: "SIGXCPU",
    153: "SIGXFSZ",
}
"""What exit codes mean by the conventions of shells."""
_REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
_ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and cursor
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]"  # character sets and the rest
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffd]")


@dataclass(frozen=True)
class Problem:
    """What keeps a pod from its work."""

    reason: str
    """Reason of a condition, CamelCase."""

    message: str
    """For people: what happened and what to do; at most `MESSAGE_LIMIT` characters."""

    container: str | None = None
    """The container that has the problem; None when it is the whole pod's."""


def diagnose(pod: Object) -> Problem | None:
    """Return what keeps a pod from its work, or None: it works, is done, or is only starting.

    Args:
        pod: a Pod as the API server returns it.
    """
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return None
    return _disruption(status) or _pod_failure(status) or _container_problem(pod, status) or _scheduling_problem(status)


def taken_away(pod: Object) -> Problem | None:
    """Return why a pod was taken away by no fault of its own, or None: it was not, or it used more than it may.

    Args:
        pod: a Pod as the API server returns it.
    """
    disrupted = disruption(pod)
    if disrupted is None and "deletionTimestamp" in pod["metadata"]:
        return _problem(POD_DELETED, f"the pod '{pod['metadata']['name']}' was deleted")
    return disrupted


def disruption(pod: Object) -> Problem | None:
    """Return by what disruption a pod was taken away, or None; `pod` as in `taken_away`."""
    found = _disruption(pod.get("status", {}))
    return found if found and found.reason in TAKEN_AWAY else None


def failure_time(pod: Object) -> str:
    """Return when the first container of a pod failed, as an RFC 3339 time that sorts; `~` when none has."""
    status = pod.get("status", {})
    ends = [
        container.get("state", {}).get("terminated") or {}
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    ]
    return min((str(end.get("finishedAt", "~")) for end in ends if end.get("exitCode", 0)), default="~")


def diagnose_creation(events: Iterable[Object]) -> Problem | None:
    """Return why a controller could not create its pods: quota, Pod Security, a missing ServiceAccount, a webhook.

    Args:
        events: Events about the Job or ReplicaSet.
    """
    refused = [event for event in events if event.get("reason") == "FailedCreate"]
    if not refused:
        return None
    newest = max(refused, key=_event_time)
    cause = str(newest.get("message", "")).removeprefix("Error creating: ")
    return _problem(POD_REFUSED, f"the pod may not be created: {clean(cause)}")


def termination_report(message: str) -> Problem | None:
    """Return what one of our own containers said about its failure, or None when it is no such message."""
    try:
        report = json.loads(message)
    except ValueError:
        return None
    if not isinstance(report, dict):
        return None
    reason, text = report.get("reason"), report.get("message")
    if not isinstance(reason, str) or not isinstance(text, str) or not _REASON.fullmatch(reason):
        return None
    return _problem(reason, clean(text))


def clean(text: str) -> str:
    """Return text without terminal escapes and control characters, with progress bars reduced to their last state."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in _ESCAPES.sub("", text).split("\n"))
    return "\n".join(_CONTROLS.sub("", line).rstrip() for line in lines).strip()


def last_lines(text: str) -> str:
    """Return the last lines of a log, cleaned, the end kept when they are long."""
    lines = [line for line in clean(text).split("\n") if line]
    tail = "\n".join(lines[-_LOG_LINES:])
    return tail if len(tail) <= _LOG_LIMIT else "…" + tail[-(_LOG_LIMIT - 1) :]


def _problem(reason: str, message: str, container: str | None = None) -> Problem:
    text = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
    return Problem(reason, text, container)


def _event_time(event: Object) -> str:
    times = (event.get("lastTimestamp"), event.get("eventTime"), event.get("metadata", {}).get("creationTimestamp"))
    return next((str(time) for time in times if time), "")


def _disruption(status: Object) -> Problem | None:
    condition = _condition(status, "DisruptionTarget")
    if condition is None or condition.get("status") != "True":
        return None
    cause = str(condition.get("reason", ""))
    reason = EVICTED if status.get("reason") == "Evicted" else _DISRUPTIONS.get(cause, EVICTED)
    return _problem(
        reason, f"the pod was taken off its node: {status.get('message') or condition.get('message') or cause}"
    )


def _pod_failure(status: Object) -> Problem | None:
    reason = str(status.get("reason", ""))
    if status.get("phase") != "Failed" or not reason:
        return None
    message = clean(str(status.get("message", "")))
    return _problem(_POD_REASONS.get(reason, POD_REFUSED), f"the node ended the pod ({reason}): {message}".rstrip(": "))


def _container_problem(pod: Object, status: Object) -> Problem | None:
    statuses = _sidecars_last(pod, status)
    for container in statuses:
        problem = _termination_problem(pod, container, container.get("state", {}).get("terminated"))
        if problem:
            return problem
    for container in statuses:
        problem = _waiting_problem(pod, container)
        if problem:
            return problem
    return None


def _sidecars_last(pod: Object, status: Object) -> list[Object]:
    """Return the container statuses in their order, but sidecars last: they end when what they serve has ended."""
    containers = pod.get("spec", {}).get("initContainers", ())
    sidecars = {container["name"] for container in containers if container.get("restartPolicy") == "Always"}
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return sorted(statuses, key=lambda container: container["name"] in sidecars)


def _termination_problem(pod: Object, container: Object, terminated: Object | None) -> Problem | None:
    if not terminated or terminated.get("exitCode", 0) == 0:
        return None
    name = str(container["name"])
    message = str(terminated.get("message") or "")
    if terminated.get("reason") == "OOMKilled":
        return _problem(OUT_OF_MEMORY, _out_of_memory(pod, name), name)
    if terminated.get("reason") in _START_REASONS:
        return _problem(START_FAILED, f"container '{name}' cannot start: {clean(message)}", name)
    report = termination_report(message) if name in OUR_CONTAINERS else None
    if report:
        return Problem(report.reason, report.message, name)
    return _problem(CONTAINER_FAILED, _exit(name, terminated["exitCode"], message), name)


def _out_of_memory(pod: Object, name: str) -> str:
    spec = pod.get("spec", {})
    containers = [*spec.get("initContainers", ()), *spec.get("containers", ())]
    spec_of_it: Object = next((c for c in containers if c["name"] == name), {})
    limit = spec_of_it.get("resources", {}).get("limits", {}).get("memory")
    if limit is None:
        return f"container '{name}' was killed because the node ran out of memory: set `resources.requests.memory`"
    return f"container '{name}' used more memory than its limit of {limit}: raise `resources.limits.memory`"


def _exit(name: str, code: int, message: str) -> str:
    meaning = f" ({_EXITS[code]})" if code in _EXITS else ""
    lines = last_lines(message)
    return f"container '{name}' exited with code {code}{meaning}" + (f"; last lines:\n{lines}" if lines else "")


def _waiting_problem(pod: Object, container: Object) -> Problem | None:
    waiting = container.get("state", {}).get("waiting") or {}
    name, reason = str(container["name"]), waiting.get("reason")
    message = clean(str(waiting.get("message") or ""))
    if reason in _IMAGE_REASONS:
        return _problem(IMAGE_PULL_FAILED, f"image '{_image(pod, container)}' cannot be pulled: {message}", name)
    if reason == "CreateContainerConfigError":
        return _problem(CONFIGURATION_MISSING, f"container '{name}' cannot be configured: {message}", name)
    if reason in _START_REASONS:
        return _problem(START_FAILED, f"container '{name}' cannot start: {message}", name)
    if reason == "CrashLoopBackOff":
        return _crash_loop(pod, container)
    return None


def _crash_loop(pod: Object, container: Object) -> Problem:
    name = str(container["name"])
    before = _termination_problem(pod, container, container.get("lastState", {}).get("terminated"))
    if before is None:
        return _problem(CRASH_LOOP, f"container '{name}' ends again and again", name)
    if before.reason != CONTAINER_FAILED:
        return before
    return _problem(CRASH_LOOP, f"ends again and again: {before.message}", name)


def _image(pod: Object, container: Object) -> str:
    """Return the image as the pod asks for it: the status may hold an empty or a resolved name."""
    spec = pod.get("spec", {})
    containers = [*spec.get("initContainers", ()), *spec.get("containers", ())]
    asked = next((c.get("image") for c in containers if c["name"] == container["name"]), None)
    return str(asked or container.get("image", ""))


def _scheduling_problem(status: Object) -> Problem | None:
    condition = _condition(status, "PodScheduled")
    if condition is None or condition.get("status") != "False" or condition.get("reason") != UNSCHEDULABLE:
        return None
    return _problem(UNSCHEDULABLE, f"no node can run the pod: {clean(str(condition.get('message', '')))}")


def _condition(status: Object, type_: str) -> Object | None:
    return next((c for c in status.get("conditions", ()) if c.get("type") == type_), None)
