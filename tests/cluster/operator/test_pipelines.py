"""Pipelines on a real API server: one run for each cause, whatever dies in between."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.operator.conftest import Operator, Stage
from tests.cluster.operator.nodes import DIGEST
from tests.cluster.operator.test_crashes import DeadlyProxy, made
from tests.cluster.operator.test_training import RUN

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

CHANGED = "sha256:" + "c" * 64
TRIGGERS: dict[str, Any] = {"inputs": {"names": ["flights"], "pollSeconds": 10}}
PIPELINE: dict[str, Any] = {"triggers": TRIGGERS, "template": {"spec": RUN}}


@pytest.fixture
def proxy(stage: Stage, tmp_path: Path) -> Iterator[DeadlyProxy]:
    """A proxy that outlives the operators behind it."""
    with DeadlyProxy(stage.plane, tmp_path) as proxy:
        yield proxy
        stage.stop()


def results(stage: Stage) -> list[tuple[str, str]]:
    """Reason and result of each run that status knows, oldest first."""
    runs = stage.api.get("Pipeline", "nightly").get("status", {}).get("recentRuns", [])
    return [(run["reason"], run["result"]) for run in reversed(runs)]


def reach(stage: Stage, *expected: str) -> None:
    wanted = [(reason, "Succeeded") for reason in expected]
    stage.until(lambda: results(stage) == wanted, f"runs to succeed because of {expected}")


def run_now(stage: Stage, token: str) -> None:
    stage.api.patch("Pipeline", "nightly", {"metadata": {"annotations": {"modelyard.dev/run-now": token}}})


def test_changed_data_makes_one_run_and_unchanged_data_none(stage: Stage) -> None:
    stage.apply("Pipeline", "nightly", **PIPELINE)
    operator = stage.start()
    reach(stage, "SpecChanged")
    stage.assert_converged(operator)
    assert stage.ready("Pipeline", "nightly") == "Watching"

    stage.nodes.content["flights"] = CHANGED
    reach(stage, "SpecChanged", "DataChanged")
    stage.assert_converged(operator)

    status = stage.api.get("Pipeline", "nightly")["status"]
    (flights,) = status["inputs"]
    assert flights["trainedDigest"] == flights["digest"] == CHANGED
    assert status["lastVersionName"] == "delay-v2"
    assert len(stage.api.names("TrainingRun")) == made(stage, "/trainingruns") == 2
    versions = [stage.api.get("ModelVersion", f"delay-v{n}")["spec"]["lineage"]["inputs"] for n in (1, 2)]
    assert [inputs[0]["digest"] for inputs in versions] == [DIGEST, CHANGED]


def test_touched_data_makes_no_run_and_status_says_so(stage: Stage) -> None:
    stage.apply("Pipeline", "nightly", **PIPELINE)
    operator = stage.start()
    reach(stage, "SpecChanged")
    later = "2030-01-01T00:00:00Z"
    stage.api.patch("Observation", "pipeline-nightly", {"spec": {"observedTime": later}})
    stage.until(
        lambda: stage.api.get("Pipeline", "nightly")["status"].get("skipped", {}).get("reason") == "NothingChanged",
        "the operator to say that nothing has changed",
    )
    stage.assert_converged(operator)
    assert len(stage.api.names("TrainingRun")) == 1


def test_causes_of_one_moment_make_one_run(stage: Stage) -> None:
    stage.apply("Pipeline", "nightly", **PIPELINE)
    operator = stage.start()
    reach(stage, "SpecChanged")
    operator.kill()
    stage.nodes.content["flights"] = CHANGED
    stage.nodes.step()
    run_now(stage, "now")
    stage.start()
    reach(stage, "SpecChanged", "Manual")
    (run,) = [run for run in stage.api.all("TrainingRun") if run["spec"]["trigger"]["reason"] == "Manual"]
    assert [cause["reason"] for cause in run["spec"]["trigger"]["evidence"]] == ["Manual", "DataChanged"]


def test_command_starts_a_run(stage: Stage) -> None:
    stage.apply("Pipeline", "nightly", **{**PIPELINE, "triggers": {"spec": "Never"}})
    stage.start()
    command = [sys.executable, "-m", "modelyard.cli.main", "trigger", "pipeline/nightly", "-n", stage.api.namespace]
    environment = {**os.environ, "KUBECONFIG": str(stage.plane.kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    reach(stage, "Manual")


def test_what_a_deployment_says_makes_a_run(stage: Stage) -> None:
    watched = {"name": "delay", "namespace": stage.api.namespace, "on": ["InputsDrifted"]}
    stage.apply("Pipeline", "nightly", triggers={"spec": "Never", "deployments": [watched]}, template={"spec": RUN})
    stage.start()
    stage.until(lambda: stage.ready("Pipeline", "nightly") == "!DeploymentNotFound", "the Deployment to be missed")
    stage.apply("Deployment", "delay", model={"name": "delay", "alias": "champion"})
    stage.until(lambda: stage.ready("Pipeline", "nightly") == "Watching", "the Deployment to be found")
    condition = {
        "type": "InputsStable",
        "status": "False",
        "reason": "Drifted",
        "message": "distance: 0.4",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    stage.api.patch_status("Deployment", "delay", {"conditions": [condition]})
    reach(stage, "InputsDrifted")


def test_deployment_of_a_namespace_that_the_operator_may_not_read_is_refused(stage: Stage) -> None:
    watched = {"name": "delay", "namespace": "default", "on": ["InputsDrifted"]}
    stage.apply("Pipeline", "nightly", triggers={"spec": "Never", "deployments": [watched]}, template={"spec": RUN})
    stage.start()
    stage.until(lambda: stage.ready("Pipeline", "nightly") == "!TenantMismatch", "the namespace to be refused")


def test_schedule_that_cannot_be_read_is_named(stage: Stage) -> None:
    schedule = {"cron": "0 25 * * *", "timeZone": "Europe/Berlin"}
    stage.apply("Pipeline", "nightly", triggers={"spec": "Never", "schedule": schedule}, template={"spec": RUN})
    operator = stage.start()
    stage.until(lambda: stage.ready("Pipeline", "nightly") == "!InvalidSchedule", "the schedule to be refused")
    stage.apply(
        "Pipeline",
        "nightly",
        triggers={"spec": "Never", "schedule": {**schedule, "cron": "0 3 1 1 *"}},
        template={"spec": RUN},
    )
    stage.until(lambda: stage.ready("Pipeline", "nightly") == "Watching", "the schedule to be read")
    stage.assert_converged(operator)


def test_deleted_pipeline_takes_its_runs_along_and_leaves_the_versions(stage: Stage) -> None:
    stage.apply("Pipeline", "nightly", **PIPELINE)
    operator = stage.start()
    reach(stage, "SpecChanged")
    stage.api.delete("Pipeline", "nightly")
    stage.until(lambda: stage.nodes.collect_garbage() == 0, "nothing to be left to collect")
    assert stage.api.names("TrainingRun") == stage.api.names("Job") == []
    assert stage.api.names("ModelVersion") == ["delay-v1"]
    stage.assert_converged(operator)


def is_done_or_dead(stage: Stage, operator: Operator, runs: int) -> bool:
    return is_done(stage, runs) or not operator.is_running


def is_done(stage: Stage, runs: int) -> bool:
    known = results(stage)
    return len(known) == runs and all(result == "Succeeded" for _, result in known)


@pytest.mark.parametrize(
    ("spared", "reaches_server"), [pytest.param(0, True, id="after-each-write"), pytest.param(1, False, id="before")]
)
def test_operator_that_dies_again_and_again_makes_each_run_once(
    stage: Stage, proxy: DeadlyProxy, spared: int, reaches_server: bool
) -> None:
    stage.apply("Pipeline", "nightly", **PIPELINE)
    for runs, content in enumerate((DIGEST, CHANGED), start=1):
        stage.nodes.content["flights"] = content
        deadline = time.monotonic() + 120
        while not is_done(stage, runs):
            assert time.monotonic() < deadline, stage.describe()
            operator = stage.start(proxy.kubeconfig)
            proxy.aim_at(operator, spared=spared, reaches_server=reaches_server)
            stage.until(partial(is_done_or_dead, stage, operator, runs), "the operator to write")
            operator.kill()
    assert proxy.kills >= 12
    assert [reason for reason, _ in results(stage)] == ["SpecChanged", "DataChanged"]
    assert len(stage.api.names("TrainingRun")) == made(stage, "/trainingruns") == 2
    assert stage.api.names("ModelVersion") == ["delay-v1", "delay-v2"]
    stage.assert_converged(stage.start())
