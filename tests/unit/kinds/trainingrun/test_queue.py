"""Runs in a queue of Kueue, which a stand-in plays: it starts and stops Jobs, and changes where they run."""

import copy

from modelyard.controller.engine.manifests import Manifest, name_of
from tests.unit.kinds.trainingrun.builders import spec
from tests.unit.kinds.trainingrun.simulation import Cluster
from tests.unit.kinds.trainingrun.test_failures import jobs, step, turn


def queued(**changes: object) -> Cluster:
    """A cluster with a run whose first Job waits in its queue."""
    cluster = Cluster()
    cluster.add_run("one", spec(**changes), queue="team")
    cluster.sync()
    cluster.observe_inputs()
    turn(cluster)
    return cluster


def the_job(cluster: Cluster) -> Manifest:
    (job,) = cluster.active_jobs()
    return job


def test_a_job_is_made_suspended_and_says_what_it_waits_for() -> None:
    cluster = queued()
    job = the_job(cluster)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert job["spec"]["suspend"] is True
    assert step(cluster)["state"] == "Queued"
    admitted = cluster.condition("one", "Admitted")
    assert (admitted["status"], admitted["reason"]) == ("False", "Queued")
    assert admitted["message"] == (
        "step 1 of 3 'prepare' waits in the queue 'team' until Kueue starts Job 'one-prepare-1'"
    )
    assert cluster.condition("one", "Ready")["reason"] == "Queued"


def test_waiting_in_a_queue_writes_nothing_and_asks_for_no_passes() -> None:
    cluster = queued()
    writes = cluster.api.writes
    cluster.now = cluster.now.replace(hour=5)
    assert cluster.reconcile("one") is None
    assert cluster.api.writes == writes


def test_what_kueue_changes_stays() -> None:
    cluster = queued()
    for admitted in (True, False, True):
        cluster.admit(the_job(cluster), admitted=admitted)
        turn(cluster)
        job = the_job(cluster)
        assert job["spec"]["suspend"] is not admitted
        assert job["spec"]["template"]["spec"]["nodeSelector"] == ({"flavor": "spot"} if admitted else {})
        assert step(cluster)["state"] == ("Running" if admitted else "Queued")
    assert jobs(cluster) == ["one-prepare-1"]
    assert step(cluster)["failures"] == 0


def test_a_deadline_does_not_run_while_the_run_is_queued() -> None:
    cluster = queued(activeDeadlineSeconds=60)
    turn(cluster, seconds=3600)
    cluster.admit(the_job(cluster))
    turn(cluster)
    turn(cluster, seconds=40)
    cluster.admit(the_job(cluster), admitted=False)
    turn(cluster, seconds=1)
    turn(cluster, seconds=3600)
    cluster.admit(the_job(cluster))
    turn(cluster)
    assert cluster.condition("one", "Ready")["reason"] == "Running"
    turn(cluster, seconds=25)
    assert cluster.condition("one", "Ready")["reason"] == "DeadlineExceeded"
    assert jobs(cluster) == [], "a Job that is Kueue's to start is ended by deleting it"


def test_a_suspended_run_gives_its_place_up_and_gets_in_line_again() -> None:
    cluster = queued()
    cluster.admit(the_job(cluster))
    turn(cluster)
    cluster.suspend("one", suspend=True)
    turn(cluster)
    assert jobs(cluster) == []
    assert (step(cluster)["state"], step(cluster)["failures"]) == ("Waiting", 0)
    cluster.suspend("one", suspend=False)
    turn(cluster)
    assert jobs(cluster) == ["one-prepare-2"]
    assert step(cluster)["state"] == "Queued"


def test_every_job_of_a_queued_run_is_queued() -> None:
    cluster = queued()
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"
    assert {job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] for job in cluster.of_kind("Job")} == {"team"}


def test_a_queue_that_is_named_later_is_that_of_later_jobs() -> None:
    cluster = queued()
    run = copy.deepcopy(cluster.run("one"))
    run["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "other"
    cluster.api.put(run)
    turn(cluster)
    assert name_of(the_job(cluster)) == "one-prepare-1"
    assert the_job(cluster)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
