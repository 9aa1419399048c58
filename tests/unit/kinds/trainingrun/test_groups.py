"""Steps of several nodes, which start and end together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.names import (
    MAX_NODES,
    MAX_RUN_NAME,
    MAX_STEP_NAME,
    group_job_name,
    group_service_name,
)
from modelyard.controller.engine.manifests import Manifest, name_of
from tests.unit.kinds.trainingrun.builders import PREPARE, TRAIN
from tests.unit.kinds.trainingrun.simulation import JOBS, SERVICES, Cluster
from tests.unit.kinds.trainingrun.test_checkpoints import disrupted, fetched, the_job
from tests.unit.kinds.trainingrun.test_failures import end, jobs, running, step, turn

GROUP = [PREPARE, {**TRAIN, "numNodes": 4, "checkpoint": {}, "backoffLimit": 0}]


def training(**changes: Any) -> Cluster:
    """A cluster with a run whose group is at work."""
    cluster = running(**{"steps": GROUP, "backoffLimit": 0, **changes})
    end(cluster, "succeed")
    assert jobs(cluster)[-1] == "one-train-1"
    return cluster


def services(cluster: Cluster) -> list[str]:
    return [name_of(service) for service in cluster.of_kind(SERVICES.kind)]


def fail(cluster: Cluster, job: Manifest, reason: str = "BackoffLimitExceeded") -> None:
    """Let the Job controller give a group up."""
    condition = {"type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    live = cluster.api.objects[JOBS.kind, name_of(job)]
    cluster.api.put({**live, "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": [condition]}})


def exited(code: int, at: int) -> dict[str, Any]:
    terminated = {
        "exitCode": code,
        "reason": "Error",
        "message": f"code {code}",
        "finishedAt": f"2026-01-01T00:00:{at:02d}Z",
    }
    return {"phase": "Failed", "initContainerStatuses": [{"name": "run", "state": {"terminated": terminated}}]}


def test_a_group_has_a_service_as_long_as_it_works() -> None:
    cluster = training()
    assert services(cluster) == ["one-train-1"]
    job = the_job(cluster)
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 4, 4)
    assert job["spec"]["template"]["spec"]["subdomain"] == "one-train-1"
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"
    assert services(cluster) == []


def test_a_service_that_somebody_deletes_comes_back() -> None:
    cluster = training()
    cluster.api.remove(cluster.of_kind(SERVICES.kind)[0])
    turn(cluster)
    assert services(cluster) == ["one-train-1"]


def test_a_run_that_fails_leaves_no_service() -> None:
    cluster = training()
    end(cluster, "exit")
    assert cluster.condition("one", "Succeeded")["status"] == "False"
    assert services(cluster) == []


def test_an_operator_that_ends_between_service_and_job_makes_both() -> None:
    cluster = running(steps=GROUP)
    (job,) = cluster.runnable_jobs()
    cluster.end_job(job, "succeed")
    for _ in range(6):
        cluster.sync()
        cluster.reconcile("one", faults=("", "after"))
    assert services(cluster) == ["one-train-1"]
    turn(cluster)
    assert (services(cluster), jobs(cluster)[-1]) == (["one-train-1"], "one-train-1")


def test_a_group_that_lost_a_pod_starts_again_and_is_not_blamed() -> None:
    cluster = training()
    job = the_job(cluster)
    cluster.add_pod(job, disrupted(exited(143, 9)), rank=2)
    cluster.add_pod(job, exited(1, 3), rank=0)
    fail(cluster, job, "PodFailurePolicy")
    turn(cluster)
    assert (step(cluster, "train")["reason"], step(cluster, "train")["failures"]) == ("Preempted", 0)
    turn(cluster, seconds=10)
    assert (jobs(cluster)[-1], services(cluster)) == ("one-train-2", ["one-train-2"])


@pytest.mark.parametrize("metadata", [{"deletionTimestamp": "2026-01-01T00:00:00Z"}, {}])
def test_the_loss_of_a_pod_is_remembered_when_the_others_fail_for_want_of_it(metadata: dict[str, Any]) -> None:
    cluster = training()
    job = the_job(cluster)
    for rank in range(4):
        cluster.add_pod(job, {"phase": "Running"}, rank=rank)
    turn(cluster)
    lost = cluster.add_pod(job, {"phase": "Running"} if metadata else disrupted({}), rank=2, **metadata)
    turn(cluster)
    reason = "PodDeleted" if metadata else "Preempted"
    assert step(cluster, "train")["reason"] == reason
    cluster.api.remove(lost)
    cluster.add_pod(job, exited(1, 3), rank=0)
    turn(cluster)
    fail(cluster, job)
    turn(cluster)
    assert (step(cluster, "train")["reason"], step(cluster, "train")["failures"]) == (reason, 0)


def test_pods_that_the_job_ends_are_not_said_to_be_lost() -> None:
    cluster = training()
    job = the_job(cluster)
    target = {"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}
    cluster.api.put({**cluster.api.objects[JOBS.kind, name_of(job)], "status": {"conditions": [target]}})
    cluster.add_pod(job, exited(3, 1), rank=1)
    cluster.add_pod(job, exited(1, 5), rank=0, deletionTimestamp="2026-01-01T00:00:00Z")
    turn(cluster)
    assert "reason" not in step(cluster, "train")
    fail(cluster, job)
    turn(cluster)
    ready = cluster.condition("one", "Ready")
    assert (ready["reason"], step(cluster, "train")["failures"]) == ("StepFailed", 1)
    assert "rank 1: container 'run' exited with code 3" in ready["message"]


def test_an_obstacle_of_any_pod_is_shown() -> None:
    cluster = training()
    job = the_job(cluster)
    cluster.add_pod(job, {"phase": "Running"}, rank=0)
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no gpu"}
    cluster.add_pod(job, {"phase": "Pending", "conditions": [unschedulable]}, rank=3)
    turn(cluster)
    assert cluster.condition("one", "Ready")["reason"] == "Unschedulable"


def test_the_first_rank_answers_for_the_group() -> None:
    cluster = training()
    job = the_job(cluster)
    cluster.add_pod(job, fetched(9, 9), rank=1)
    cluster.add_pod(job, fetched(1, 2), rank=0)
    turn(cluster)
    assert (step(cluster, "train")["resumes"], step(cluster, "train")["lostSeconds"]) == (1, 2)


NAMES = st.text("abz019-", min_size=1, max_size=MAX_RUN_NAME).filter(lambda name: name.strip("-") == name)


@given(run=NAMES, step=NAMES.filter(lambda name: len(name) <= MAX_STEP_NAME), attempt=st.integers(1, 10**6))
def test_every_host_name_of_a_group_fits(run: str, step: str, attempt: int) -> None:
    job = group_job_name(run, step, attempt)
    assert len(f"{job}-{MAX_NODES - 1}") <= 63
    service = group_service_name(job)
    assert len(service) <= 63
    assert service[0].isalpha()
    assert job == group_job_name(run, step, attempt) != group_job_name(run, step, attempt + 1)


def test_long_runs_with_one_beginning_have_groups_of_their_own() -> None:
    first, second = (group_job_name("r" * 39 + end, "s" * 18, 12) for end in "ab")
    assert first != second
