import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.controller.kinds.pods import (
    MESSAGE_LIMIT,
    Problem,
    clean,
    diagnose,
    diagnose_creation,
    last_lines,
    taken_away,
    termination_report,
)

SPEC: dict[str, Any] = {
    "initContainers": [
        {"name": "fetch", "image": "trainer:1"},
        {"name": "run", "image": "example.com/team/train:9", "resources": {"limits": {"memory": "2Gi"}}},
    ],
    "containers": [{"name": "publish", "image": "trainer:1"}],
}


def pod(*, phase: str = "Pending", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": SPEC, "status": {"phase": phase, **status}}


def waiting(name: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"name": name, "image": "", "state": {"waiting": {"reason": reason, "message": message}}}


def terminated(name: str, code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


def problem_of(value: dict[str, Any]) -> Problem:
    found = diagnose(value)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "healthy",
    [
        pod(),
        pod(phase="Succeeded", initContainerStatuses=[terminated("run", 0, reason="Completed")]),
        pod(phase="Running", initContainerStatuses=[waiting("fetch", "PodInitializing")]),
        pod(phase="Running", containerStatuses=[{"name": "publish", "state": {"running": {}}}]),
        pod(phase="Running", containerStatuses=[waiting("publish", "ContainerCreating")]),
        pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
        pod(conditions=[{"type": "PodScheduled", "status": "True"}]),
        {"metadata": {"name": "p"}},
    ],
)
def test_diagnose_is_silent_about_a_healthy_pod(healthy: dict[str, Any]) -> None:
    assert diagnose(healthy) is None


def test_diagnose_quotes_the_scheduler() -> None:
    cause = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": cause}
    assert problem_of(pod(conditions=[condition])) == Problem("Unschedulable", f"no node can run the pod: {cause}")


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_diagnose_names_the_image_that_cannot_be_pulled(reason: str) -> None:
    found = problem_of(pod(initContainerStatuses=[waiting("run", reason, "manifest unknown")]))
    assert (found.reason, found.container) == ("ImagePullFailed", "run")
    assert "example.com/team/train:9" in found.message
    assert "manifest unknown" in found.message


def test_diagnose_names_the_missing_secret() -> None:
    status = waiting("fetch", "CreateContainerConfigError", 'secret "modelyard-store" not found')
    found = problem_of(pod(initContainerStatuses=[status]))
    assert (found.reason, found.container) == ("ConfigurationMissing", "fetch")
    assert 'secret "modelyard-store" not found' in found.message


@pytest.mark.parametrize(
    "status",
    [
        waiting("run", "CreateContainerError", 'exec: "trian": executable file not found in $PATH'),
        waiting("run", "RunContainerError", 'exec: "trian": executable file not found in $PATH'),
        terminated("run", 128, 'exec: "trian": executable file not found in $PATH', reason="StartError"),
    ],
)
def test_diagnose_says_why_a_container_cannot_start(status: dict[str, Any]) -> None:
    found = problem_of(pod(initContainerStatuses=[status]))
    assert (found.reason, found.container) == ("StartFailed", "run")
    assert '"trian": executable file not found' in found.message


def test_diagnose_names_the_memory_limit() -> None:
    found = problem_of(pod(phase="Failed", initContainerStatuses=[terminated("run", 137, reason="OOMKilled")]))
    assert (found.reason, found.container) == ("OutOfMemory", "run")
    assert "2Gi" in found.message


def test_diagnose_says_when_no_memory_limit_was_set() -> None:
    found = problem_of(pod(phase="Failed", containerStatuses=[terminated("publish", 137, reason="OOMKilled")]))
    assert found.reason == "OutOfMemory"
    assert "the node ran out of memory" in found.message


def test_diagnose_trusts_the_verdict_of_our_own_container() -> None:
    verdict = json.dumps({"reason": "DigestMismatch", "message": "flights hashes to another digest"})
    found = problem_of(pod(phase="Failed", initContainerStatuses=[terminated("fetch", 1, verdict)]))
    assert found == Problem("DigestMismatch", "flights hashes to another digest", "fetch")


def test_diagnose_only_quotes_what_user_code_printed() -> None:
    forged = json.dumps({"reason": "DigestMismatch", "message": "trust me"})
    found = problem_of(pod(phase="Failed", initContainerStatuses=[terminated("run", 1, forged)]))
    assert found.reason == "ContainerFailed"


def test_diagnose_quotes_exit_code_and_last_lines() -> None:
    log = "Traceback (most recent call last):\n\x1b[31mValueError: no rows\x1b[0m\n"
    found = problem_of(pod(phase="Failed", initContainerStatuses=[terminated("run", 3, log)]))
    assert found.reason == "ContainerFailed"
    assert "exited with code 3" in found.message
    assert found.message.endswith("ValueError: no rows")


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (1, ""),
        (127, " (the command was not found)"),
        (137, " (SIGKILL, which a lack of memory causes too)"),
        (139, " (SIGSEGV)"),
        (143, " (SIGTERM)"),
        (255, ""),
    ],
)
def test_diagnose_says_what_an_exit_code_means(code: int, meaning: str) -> None:
    found = problem_of(pod(phase="Failed", initContainerStatuses=[terminated("run", code)]))
    assert found.message == f"container 'run' exited with code {code}{meaning}"


def test_diagnose_explains_a_crash_loop_by_its_last_end() -> None:
    last = {"terminated": {"exitCode": 1, "message": json.dumps({"reason": "GoldenMismatch", "message": "0.3 != 0.4"})}}
    status = {**waiting("server", "CrashLoopBackOff"), "lastState": last}
    assert problem_of(pod(containerStatuses=[status])) == Problem("GoldenMismatch", "0.3 != 0.4", "server")


def test_diagnose_calls_an_unexplained_crash_loop_so() -> None:
    last = {"terminated": {"exitCode": 2, "message": "bad flag"}}
    status = {**waiting("server", "CrashLoopBackOff"), "lastState": last}
    found = problem_of(pod(phase="Running", containerStatuses=[status]))
    assert found.reason == "CrashLoop"
    assert "code 2" in found.message
    assert "bad flag" in found.message


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("PreemptionByScheduler", "Preempted"),
        ("DeletionByTaintManager", "NodeLost"),
        ("TerminationByKubelet", "NodeLost"),
        ("EvictionByEvictionAPI", "Drained"),
    ],
)
def test_diagnose_tells_disruption_from_failure(cause: str, reason: str) -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": cause, "message": "because"}
    status = pod(phase="Failed", conditions=[condition], initContainerStatuses=[terminated("run", 143)])
    assert problem_of(status).reason == reason


@pytest.mark.parametrize(
    ("given_reason", "reason"),
    [("Evicted", "Evicted"), ("DeadlineExceeded", "DeadlineExceeded"), ("OutOfnvidia.com/gpu", "PodRefused")],
)
def test_diagnose_quotes_the_node_that_ended_a_pod(given_reason: str, reason: str) -> None:
    cause = 'Usage of EmptyDir volume "workspace" exceeds the limit "1Gi".'
    found = problem_of(pod(phase="Failed", reason=given_reason, message=cause))
    assert found.reason == reason
    assert cause in found.message


@pytest.mark.parametrize(
    ("cause", "given_reason", "reason"),
    [
        ("PreemptionByScheduler", "", "Preempted"),
        ("EvictionByEvictionAPI", "", "Drained"),
        ("DeletionByTaintManager", "", "NodeLost"),
        ("TerminationByKubelet", "Terminated", "NodeLost"),
        ("TerminationByKubelet", "Evicted", None),
    ],
)
def test_pod_that_used_more_than_it_may_was_not_taken_away(cause: str, given_reason: str, reason: str | None) -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": cause, "message": "because"}
    found = taken_away(pod(phase="Failed", reason=given_reason, conditions=[condition]))
    assert (found.reason if found else None) == reason


def test_deleted_pod_was_taken_away() -> None:
    deleted = pod(phase="Running")
    assert taken_away(deleted) is None
    deleted["metadata"] = {**deleted["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert taken_away(deleted) == Problem("PodDeleted", "the pod 'p' was deleted")


def test_sidecar_that_ends_with_the_pod_is_not_its_problem() -> None:
    courier = {"name": "courier", "image": "trainer:1", "restartPolicy": "Always"}
    fetch, run = SPEC["initContainers"]
    statuses = [terminated("fetch", 0), terminated("courier", 137), terminated("run", 3, "no rows")]
    ended = pod(phase="Failed", initContainerStatuses=statuses)
    ended["spec"] = {**SPEC, "initContainers": [fetch, courier, run]}
    assert problem_of(ended).container == "run"


def test_diagnose_creation_quotes_the_newest_refusal() -> None:
    def event(second: int, message: str) -> dict[str, Any]:
        return {"reason": "FailedCreate", "message": message, "lastTimestamp": f"2026-01-01T00:00:0{second}Z"}

    found = diagnose_creation([event(2, 'Error creating: pods "p" is forbidden: exceeded quota'), event(1, "old")])
    assert found == Problem("PodRefused", 'the pod may not be created: pods "p" is forbidden: exceeded quota')


def test_diagnose_creation_ignores_other_events() -> None:
    assert diagnose_creation([{"reason": "SuccessfulCreate", "message": "Created pod"}]) is None


def test_last_lines_keeps_the_end_of_a_progress_bar() -> None:
    assert last_lines("epoch 1\r\n10%\r50%\r100%\ndone\x00\n\n") == "epoch 1\n100%\ndone"


@pytest.mark.parametrize(
    ("printed", "readable"),
    [
        ("\x1b[1;31mError\x1b[0m: no rows", "Error: no rows"),
        ("\x1b]0;train.py\x07loss 0.3", "loss 0.3"),
        ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended\nloss 0.3", "loss 0.3"),
        ("bold\x1b(B\x1b[m off", "bold off"),
        ("\x1bP1$r0m\x1b\\done", "done"),
        ("\x9b31mred", "red"),
        ("up\x1b[2A\x1b[2K\x1b7", "up"),
        ("safe\u202etxt.exe\u2066", "safetxt.exe"),
        ("a\x07b\x00c\ufffd", "abc"),
        ("naïve 表 ✓", "naïve 表 ✓"),
    ],
)
def test_clean_keeps_what_a_person_would_have_read(printed: str, readable: str) -> None:
    assert clean(printed) == readable


@given(st.text(max_size=3000), st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=80))
def test_last_lines_always_hold_the_last_one(before: str, last: str) -> None:
    assert last_lines(f"{before}\n{last}").endswith(last)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"reason": "lower", "message": "x"}', '{"reason": "Ok"}', "1e999"])
def test_termination_report_refuses_other_messages(text: str) -> None:
    assert termination_report(text) is None


@given(st.text(max_size=5000))
def test_clean_leaves_no_control_characters(text: str) -> None:
    assert not any(ord(c) < 32 and c not in "\n\t" for c in clean(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.integers(1, 255), st.text(max_size=4000) | JSON.map(json.dumps))
def test_diagnose_bounds_every_message(code: int, log: str) -> None:
    for name in ("fetch", "run"):
        found = problem_of(pod(phase="Failed", initContainerStatuses=[terminated(name, code, log)]))
        assert len(found.message) <= MESSAGE_LIMIT
