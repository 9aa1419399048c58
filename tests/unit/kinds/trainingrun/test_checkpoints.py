"""What the operator makes of pods that are taken away, and of what fetch says of their checkpoints."""

import json
from typing import Any

import pytest

from modelyard.controller.engine.manifests import Manifest, name_of
from tests.unit.kinds.trainingrun.builders import PREPARE, TRAIN
from tests.unit.kinds.trainingrun.simulation import PODS, Cluster
from tests.unit.kinds.trainingrun.test_failures import end, jobs, running, step, turn


def fetched(resumes: int, lost: int) -> dict[str, Any]:
    """The status of a pod whose fetch has ended."""
    message = json.dumps({"resumes": resumes, "lostSeconds": lost})
    terminated = {"exitCode": 0, "reason": "Completed", "message": message}
    return {"phase": "Pending", "initContainerStatuses": [{"name": "fetch", "state": {"terminated": terminated}}]}


def disrupted(status: dict[str, Any], reason: str = "PreemptionByScheduler") -> dict[str, Any]:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "for more urgent work"}
    return {**status, "phase": "Failed", "conditions": [condition]}


def the_job(cluster: Cluster) -> Manifest:
    (job,) = cluster.active_jobs()
    return job


def test_a_deleted_pod_does_not_use_up_attempts() -> None:
    cluster = running(backoffLimit=0, steps=[{**PREPARE, "backoffLimit": 0}, TRAIN])
    end(cluster, "delete")
    assert (step(cluster)["state"], step(cluster)["reason"]) == ("Failed", "PodDeleted")
    assert step(cluster)["failures"] == 0
    turn(cluster, seconds=10)
    assert jobs(cluster) == ["one-prepare-1", "one-prepare-2"]
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"


def test_a_pod_that_is_being_deleted_when_its_job_fails_is_no_failure() -> None:
    cluster = running(backoffLimit=0)
    job = the_job(cluster)
    cluster.end_job(job, "exit")
    pod = cluster.api.objects[PODS.kind, f"{name_of(job)}-pod"]
    metadata = {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    cluster.api.put({**pod, "metadata": metadata})
    turn(cluster)
    assert (step(cluster)["reason"], step(cluster)["failures"]) == ("PodDeleted", 0)


def test_a_preempted_pod_is_shown_until_its_successor_is_there() -> None:
    cluster = running()
    job = the_job(cluster)
    cluster.add_pod(job, disrupted({}))
    turn(cluster)
    assert (step(cluster)["state"], step(cluster)["reason"]) == ("Running", "Preempted")
    assert "for more urgent work" in cluster.condition("one", "Ready")["message"]
    cluster.now = cluster.now.replace(minute=1)
    cluster.add_pod(job, fetched(1, 4), rank=0)
    turn(cluster)
    assert "reason" not in step(cluster)
    assert (step(cluster)["resumes"], step(cluster)["lostSeconds"]) == (1, 4)
    events = [event for event in cluster.recorder.events if event.reason == "StepResumed"]
    assert [event.message for event in events] == [
        "step 1 of 3 'prepare' goes on from a checkpoint; 4 s of work were lost so far"
    ]


def test_counts_stay_when_the_pods_that_told_them_are_gone_and_over_attempts() -> None:
    cluster = running()
    job = the_job(cluster)
    pod = cluster.add_pod(job, fetched(2, 9))
    turn(cluster)
    cluster.api.remove(pod)
    turn(cluster)
    assert (step(cluster)["resumes"], step(cluster)["lostSeconds"]) == (2, 9)
    end(cluster, "exit", seconds=10)
    assert step(cluster)["attempt"] == 2
    assert (step(cluster)["resumes"], step(cluster)["lostSeconds"]) == (2, 9)
    cluster.add_pod(the_job(cluster), fetched(3, 11))
    turn(cluster)
    assert (step(cluster)["resumes"], step(cluster)["lostSeconds"]) == (3, 11)


@pytest.mark.parametrize("message", ["", "{", "[]", "{}", '{"resumes": "2", "lostSeconds": 1}', "null"])
def test_an_answer_of_fetch_that_says_nothing_counts_nothing(message: str) -> None:
    cluster = running()
    status = fetched(0, 0)
    status["initContainerStatuses"][0]["state"]["terminated"]["message"] = message
    cluster.add_pod(the_job(cluster), status)
    turn(cluster)
    assert "resumes" not in step(cluster)


def test_what_user_code_prints_counts_nothing() -> None:
    cluster = running()
    status = fetched(7, 7)
    status["initContainerStatuses"][0]["name"] = "run"
    cluster.add_pod(the_job(cluster), status)
    turn(cluster)
    assert "resumes" not in step(cluster)


def test_a_suspended_job_whose_pod_ends_is_not_said_to_have_lost_it() -> None:
    cluster = running()
    job = the_job(cluster)
    cluster.add_pod(job, {"phase": "Running"})
    cluster.suspend("one", suspend=True)
    turn(cluster)
    cluster.add_pod(job, {"phase": "Running"}, deletionTimestamp="2026-01-01T00:00:00Z")
    turn(cluster)
    assert cluster.condition("one", "Ready")["reason"] == "Suspended"
    assert "reason" not in step(cluster)
