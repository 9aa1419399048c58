from datetime import timedelta
from typing import Any

import pytest

from modelyard.controller.engine.manifests import name_of
from modelyard.controller.kinds.attempts import retry_delay
from tests.unit.kinds.trainingrun.builders import PREPARE, TRAIN, spec
from tests.unit.kinds.trainingrun.simulation import JOBS, PODS, Cluster


def running(**changes: Any) -> Cluster:
    """A cluster with a run whose first step has a Job."""
    cluster = Cluster()
    cluster.add_run("one", spec(**changes))
    cluster.sync()
    cluster.observe_inputs()
    turn(cluster)
    assert [name_of(job) for job in cluster.active_jobs()] == ["one-prepare-1"]
    return cluster


def turn(cluster: Cluster, *, seconds: int = 0) -> None:
    """Let time pass, and the operator react to it."""
    cluster.now += timedelta(seconds=seconds)
    for _ in range(6):
        cluster.sync()
        cluster.reconcile("one")


def end(cluster: Cluster, outcome: str, *, seconds: int = 0) -> None:
    (job,) = cluster.runnable_jobs()
    cluster.end_job(job, outcome)
    turn(cluster, seconds=seconds)


def jobs(cluster: Cluster) -> list[str]:
    return [name_of(job) for job in cluster.of_kind(JOBS.kind)]


def step(cluster: Cluster, name: str = "prepare") -> dict[str, Any]:
    return next(dict(s) for s in cluster.run("one")["status"]["steps"] if s["name"] == name)


def test_a_failed_attempt_says_what_happened_and_when_the_next_one_starts() -> None:
    cluster = running()
    end(cluster, "exit")
    ready = cluster.condition("one", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "StepFailed")
    for part in ("step 1 of 3 'prepare'", "attempt 1", "exited with code 3", "no rows", "2026-01-01T00:00:10Z"):
        assert part in ready["message"]
    assert (step(cluster)["state"], step(cluster)["failures"]) == ("Failed", 1)
    assert jobs(cluster) == ["one-prepare-1"]


def test_the_next_attempt_starts_when_its_delay_is_over() -> None:
    cluster = running()
    end(cluster, "exit", seconds=9)
    assert jobs(cluster) == ["one-prepare-1"]
    turn(cluster, seconds=1)
    assert jobs(cluster) == ["one-prepare-1", "one-prepare-2"]
    assert (step(cluster)["state"], step(cluster)["attempt"]) == ("Running", 2)
    assert cluster.condition("one", "Ready")["reason"] == "Running"


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (1000, 300)])
def test_delays_double_up_to_five_minutes(attempt: int, seconds: int) -> None:
    assert retry_delay(attempt) == timedelta(seconds=seconds)


def test_a_step_that_uses_up_its_attempts_fails_the_run() -> None:
    cluster = running(steps=[{**PREPARE, "backoffLimit": 1}, TRAIN])
    end(cluster, "exit", seconds=10)
    end(cluster, "oom")
    for type_, status in (("Ready", "False"), ("Succeeded", "False"), ("Stalled", "True")):
        found = cluster.condition("one", type_)
        assert (found["status"], found["reason"]) == (status, "OutOfMemory")
    message = cluster.condition("one", "Ready")["message"]
    assert "step 'prepare' failed in attempt 2" in message
    assert "`backoffLimit` is 1" in message
    assert cluster.recorder.events[-1].reason == "RunFailed"
    turn(cluster, seconds=3600)
    assert jobs(cluster) == ["one-prepare-1", "one-prepare-2"]


def test_the_run_limit_counts_the_failures_of_all_steps() -> None:
    cluster = running(backoffLimit=1)
    end(cluster, "exit", seconds=10)
    end(cluster, "succeed")
    end(cluster, "exit")
    ready = cluster.condition("one", "Ready")
    assert ready["reason"] == "BackoffLimitExceeded"
    assert "step 'train' failed in attempt 1" in ready["message"]
    assert "`backoffLimit` of 1" in ready["message"]


@pytest.mark.parametrize("reason", ["InvalidModel", "OutputMissing", "OutputRefused", "DigestMismatch"])
def test_a_failure_that_no_attempt_can_cure_ends_the_run(reason: str) -> None:
    cluster = running()
    end(cluster, reason)
    assert cluster.condition("one", "Stalled")["reason"] == reason
    assert "cannot cure" in cluster.condition("one", "Ready")["message"]
    turn(cluster, seconds=3600)
    assert jobs(cluster) == ["one-prepare-1"]


def test_an_outage_of_the_store_does_not_use_up_attempts() -> None:
    cluster = running(backoffLimit=0, steps=[{**PREPARE, "backoffLimit": 0}, TRAIN])
    for _ in range(8):
        end(cluster, "StoreUnreachable", seconds=300)
    assert (step(cluster)["attempt"], step(cluster)["failures"]) == (9, 0)
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"


def test_a_deleted_job_is_a_failed_attempt() -> None:
    cluster = running()
    cluster.api.remove(cluster.active_jobs()[0])
    turn(cluster)
    assert (step(cluster)["state"], step(cluster)["reason"]) == ("Failed", "JobDeleted")
    turn(cluster, seconds=10)
    assert jobs(cluster) == ["one-prepare-2"]


def test_a_job_that_a_cache_has_not_seen_yet_is_not_taken_for_deleted() -> None:
    cluster = running()
    cluster.stores[JOBS.kind].replace([], cluster.api.version)
    cluster.reconcile("one")
    assert step(cluster)["state"] == "Running"


def test_a_result_whose_pod_is_gone_is_waited_for_and_read_from_the_store() -> None:
    cluster = running()
    end(cluster, "lose")
    ready = cluster.condition("one", "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "ResultMissing")
    assert "kubectl delete job one-prepare-1" in ready["message"]
    assert step(cluster)["state"] == "Running"
    cluster.observe_inputs()
    turn(cluster)
    assert step(cluster)["state"] == "Succeeded"


def test_a_pod_that_a_cache_has_not_seen_yet_is_read_live() -> None:
    cluster = running()
    (job,) = cluster.runnable_jobs()
    cluster.end_job(job, "succeed")
    cluster.sync(JOBS.kind)
    assert not cluster.stores[PODS.kind].all()
    cluster.reconcile("one")
    assert step(cluster)["state"] == "Succeeded"


def waiting_pod(cluster: Cluster, status: dict[str, Any]) -> None:
    (job,) = cluster.runnable_jobs()
    cluster.add_pod(job, {"phase": "Pending", **status})
    turn(cluster)


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (
            "ImagePullFailed",
            {"initContainerStatuses": [{"name": "run", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
        ),
        (
            "ConfigurationMissing",
            {
                "initContainerStatuses": [
                    {
                        "name": "fetch",
                        "state": {
                            "waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}
                        },
                    }
                ]
            },
        ),
        (
            "Unschedulable",
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
        ),
    ],
)
def test_a_pod_that_cannot_start_is_reported_and_recovers(reason: str, status: dict[str, Any]) -> None:
    cluster = running()
    waiting_pod(cluster, status)
    ready = cluster.condition("one", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert "step 1 of 3 'prepare' does not get on (attempt 1)" in ready["message"]
    assert step(cluster)["state"] == "Running"
    end(cluster, "succeed")
    assert cluster.condition("one", "Ready")["reason"] == "Running"
    assert jobs(cluster) == ["one-prepare-1", "one-train-1"]


def test_pods_that_quota_refuses_are_reported_and_recover() -> None:
    cluster = running()
    (job,) = cluster.runnable_jobs()
    cluster.api.put({**job, "status": {"startTime": "2026-01-01T00:00:00Z"}})
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "refusal", "namespace": "air"},
        "involvedObject": {"uid": job["metadata"]["uid"]},
        "reason": "FailedCreate",
        "message": 'Error creating: pods "p" is forbidden: exceeded quota: compute',
    }
    cluster.api.put(event)
    turn(cluster)
    assert cluster.condition("one", "Ready")["reason"] == "Running"
    turn(cluster, seconds=5)
    ready = cluster.condition("one", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodRefused")
    assert "exceeded quota: compute" in ready["message"]
    end(cluster, "succeed")
    assert cluster.condition("one", "Ready")["reason"] == "Running"


def test_a_run_that_takes_too_long_fails_and_leaves_nothing_running() -> None:
    cluster = running(activeDeadlineSeconds=60)
    turn(cluster, seconds=59)
    assert cluster.condition("one", "Succeeded")["status"] == "Unknown"
    turn(cluster, seconds=1)
    stalled = cluster.condition("one", "Stalled")
    assert stalled["reason"] == "DeadlineExceeded"
    assert "step 'prepare'" in stalled["message"]
    assert not cluster.runnable_jobs()


def test_a_deadline_is_met_in_time() -> None:
    cluster = running(activeDeadlineSeconds=60)
    cluster.now += timedelta(seconds=40)
    (job,) = cluster.runnable_jobs()
    cluster.add_pod(job, {"phase": "Running"})
    cluster.sync()
    assert cluster.reconcile("one") == 20.0


def test_suspended_time_does_not_count_against_the_deadline() -> None:
    cluster = running(activeDeadlineSeconds=3600)
    cluster.suspend("one", suspend=True)
    turn(cluster)
    assert not cluster.runnable_jobs()
    assert cluster.condition("one", "Admitted")["reason"] == "Suspended"
    turn(cluster, seconds=7200)
    cluster.suspend("one", suspend=False)
    turn(cluster)
    assert [name_of(job) for job in cluster.runnable_jobs()] == ["one-prepare-1"]
    assert cluster.run("one")["status"]["suspendedSeconds"] == 7200
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"
    assert jobs(cluster) == ["one-prepare-1", "one-train-1", "one-register-1"]


def test_a_suspended_run_starts_nothing() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec(suspend=True))
    cluster.observe_inputs()
    turn(cluster, seconds=600)
    assert not jobs(cluster)
    assert cluster.condition("one", "Ready")["reason"] == "Suspended"
    assert "startTime" not in cluster.run("one")["status"]


def test_a_finished_run_is_deleted_when_its_time_is_over_and_its_version_stays() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec(ttlSecondsAfterFinished=7200))
    cluster.settle()
    assert cluster.runs()
    turn(cluster, seconds=7200)
    assert not cluster.runs()
    assert not cluster.of_kind(JOBS.kind)
    assert len(cluster.of_kind("ModelVersion")) == 1


def test_a_deleted_run_ends_quietly_at_every_stage() -> None:
    for stage in range(12):
        cluster = Cluster()
        cluster.add_run("one", spec())
        for _ in range(stage):
            cluster.observe_inputs()
            for job in cluster.runnable_jobs():
                cluster.end_job(job, "succeed")
            cluster.sync()
            cluster.reconcile("one")
        cluster.api.remove(cluster.run("one"))
        cluster.reconcile("one")
        turn(cluster, seconds=60)
        leftovers = [m for m in cluster.api.objects.values() if m["kind"] in {"Job", "TrainingRun"}]
        assert all(m["kind"] == "Job" for m in leftovers)


def test_a_champion_that_always_moves_leaves_the_verdict_open() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec())
    for number in range(100, 140):
        cluster.observe_inputs()
        for job in cluster.runnable_jobs():
            cluster.end_job(job, "succeed")
            if "register" in name_of(job):
                cluster.add_champion(number)
        cluster.sync()
        cluster.reconcile("one")
    status = cluster.run("one")["status"]
    record = cluster.api.objects["ModelVersion", status["modelVersionName"]]["spec"]
    assert record["evaluation"]["verdict"] == "ChampionMoved"
    assert step(cluster, "register")["attempt"] == 5
    assert step(cluster, "register")["failures"] == 0


def test_the_status_of_a_long_run_with_long_messages_is_small() -> None:
    steps: list[dict[str, Any]] = [
        {"name": f"s{n}", "image": "example.com/i:1", "outputs": [f"o{n}"]} for n in range(15)
    ]
    steps.append({"name": "last", "image": "example.com/i:1", "outputs": ["model"], "backoffLimit": 0})
    cluster = Cluster()
    cluster.add_run("one", spec(steps=steps, evaluation=None))
    cluster.log = "x" * 4000
    for _ in range(60):
        cluster.observe_inputs()
        for job in cluster.runnable_jobs():
            cluster.end_job(job, "exit" if "last" in name_of(job) else "succeed")
        cluster.sync()
        cluster.reconcile("one")
    assert cluster.condition("one", "Succeeded")["status"] == "False"
    assert len(repr(cluster.run("one")["status"])) < 16 * 1024


def test_a_deleted_job_of_a_later_attempt_is_noticed_too() -> None:
    cluster = running()
    end(cluster, "exit", seconds=10)
    cluster.api.remove(cluster.active_jobs()[0])
    turn(cluster)
    assert (step(cluster)["attempt"], step(cluster)["reason"]) == (2, "JobDeleted")


def test_a_champion_that_moves_after_a_step_compared_leaves_the_verdict_open_at_once() -> None:
    cluster = Cluster()
    cluster.add_champion(100)
    judged = {"by": "Step", "metric": "ndcg", "goal": "Maximize"}
    steps = [PREPARE, {**TRAIN, "inputs": ["features", "champion"]}]
    cluster.add_run("one", spec(evaluation=judged, steps=steps))
    for _ in range(20):
        cluster.observe_inputs()
        for job in cluster.runnable_jobs():
            cluster.end_job(job, "succeed")
            if "train" in name_of(job):
                cluster.add_champion(101)
        cluster.sync()
        cluster.reconcile("one")
    status = cluster.run("one")["status"]
    record = cluster.api.objects["ModelVersion", status["modelVersionName"]]["spec"]
    assert (record["evaluation"]["verdict"], record["evaluation"]["champion"]["version"]) == ("ChampionMoved", 100)
    assert "start the run again" in record["evaluation"]["message"]
    assert step(cluster, "register")["attempt"] == 1
