"""Kueue, played by a test on a real API server: it starts and stops the Jobs of a run, and says where they run."""

import pytest

from modelyard.api.v1alpha1.names import LABEL_QUEUE
from tests.cluster.operator.conftest import Stage
from tests.cluster.operator.test_training import RUN, succeed

pytestmark = pytest.mark.cluster


def apply_queued(stage: Stage, name: str) -> None:
    metadata = {"name": name, "labels": {LABEL_QUEUE: "team"}}
    manifest = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "TrainingRun", "metadata": metadata, "spec": RUN}
    stage.plane.apply(manifest, namespace=stage.api.namespace)


def admit(stage: Stage, job: str, *, admitted: bool) -> None:
    """Start or stop a Job as Kueue does: node selectors may change only while it is suspended."""
    selector = {"spec": {"template": {"spec": {"nodeSelector": {"flavor": "spot"}}}}}
    if admitted:
        stage.api.patch("Job", job, selector)
    stage.api.patch("Job", job, {"spec": {"suspend": not admitted}})


def admit_all(stage: Stage) -> bool:
    """Start every Job that waits, and say whether the run has ended well."""
    for job in stage.api.all("Job"):
        if job["spec"]["suspend"]:
            admit(stage, job["metadata"]["name"], admitted=True)
    return stage.ready("TrainingRun", "one") == "Succeeded"


def writes_of_jobs(stage: Stage) -> set[str]:
    return {verb for verb, path in stage.writes() if "/jobs" in path}


def test_job_waits_until_kueue_starts_it_and_is_never_written_again(stage: Stage) -> None:
    stage.nodes.held = "one-prepare-1"
    apply_queued(stage, "one")
    operator = stage.start()
    stage.until(lambda: stage.ready("TrainingRun", "one") == "!Queued", "the run to be queued")
    job = stage.api.get("Job", "one-prepare-1")
    assert job["metadata"]["labels"][LABEL_QUEUE] == "team"
    assert job["spec"]["suspend"] is True
    stage.assert_converged(operator)
    for admitted, reason in ((True, "Running"), (False, "Queued"), (True, "Running")):
        admit(stage, "one-prepare-1", admitted=admitted)
        stage.until(lambda wanted=f"!{reason}": stage.ready("TrainingRun", "one") == wanted, reason)  # type: ignore[misc]
        stage.assert_converged(operator)
    assert stage.api.get("Job", "one-prepare-1")["spec"]["template"]["spec"]["nodeSelector"] == {"flavor": "spot"}
    stage.nodes.held = ""
    stage.until(lambda: admit_all(stage), "the run to succeed")
    assert stage.api.names("Job") == ["one-prepare-1", "one-register-1", "one-train-1"]
    assert writes_of_jobs(stage) == {"create"}


def test_suspended_run_gives_its_place_up(stage: Stage) -> None:
    stage.nodes.held = "one-prepare-1"
    apply_queued(stage, "one")
    operator = stage.start()
    stage.until(lambda: stage.ready("TrainingRun", "one") == "!Queued", "the run to be queued")
    admit(stage, "one-prepare-1", admitted=True)
    stage.until(lambda: stage.ready("TrainingRun", "one") == "!Running", "the run to run")
    stage.api.patch("TrainingRun", "one", {"spec": {"suspend": True}})
    stage.until(lambda: stage.api.names("Job") == [], "the Job to go")
    stage.until(lambda: stage.ready("TrainingRun", "one") == "!Suspended", "the run to be suspended")
    stage.assert_converged(operator)
    stage.api.patch("TrainingRun", "one", {"spec": {"suspend": False}})
    stage.until(lambda: admit_all(stage), "the run to succeed")
    assert writes_of_jobs(stage) == {"create", "delete"}


def test_operator_that_starts_while_jobs_wait_changes_nothing(stage: Stage) -> None:
    apply_queued(stage, "one")
    stage.start().kill()
    operator = stage.start()
    stage.until(lambda: stage.ready("TrainingRun", "one") == "!Queued", "the run to be queued")
    operator.kill()
    writes = stage.writes()
    stage.assert_converged(stage.start())
    assert stage.writes() == writes


def test_run_without_a_queue_is_not_affected(stage: Stage) -> None:
    stage.apply("TrainingRun", "one", **RUN)
    stage.start()
    succeed(stage, "one")
    assert all("suspend" not in job["spec"] or job["spec"]["suspend"] is False for job in stage.api.all("Job"))
