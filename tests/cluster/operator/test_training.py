import json
from typing import Any

import pytest

from tests.cluster.operator.conftest import Stage
from tests.cluster.operator.nodes import DIGEST

pytestmark = pytest.mark.cluster

STEPS = [
    {"name": "prepare", "uses": "tabular/prepare@v1", "inputs": ["flights"], "outputs": ["features"]},
    {"name": "train", "uses": "tabular/train@v1", "inputs": ["features"], "outputs": ["model"]},
]
RUN: dict[str, Any] = {
    "model": "delay",
    "inputs": [{"name": "flights", "uri": "s3://yard/raw/flights.parquet"}],
    "steps": STEPS,
    "evaluation": {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize"},
}


def succeed(stage: Stage, run: str) -> None:
    stage.until(lambda: stage.ready("TrainingRun", run) == "Succeeded", f"{run} to succeed")


def test_run_becomes_a_version_and_then_nothing_is_written(stage: Stage) -> None:
    stage.apply("TrainingRun", "one", **RUN)
    operator = stage.start()
    succeed(stage, "one")
    stage.until(lambda: stage.ready("ModelVersion", "delay-v1") == "Available", "the version to be verified")

    version = stage.api.get("ModelVersion", "delay-v1")
    assert version["spec"]["artifact"]["digest"] == DIGEST
    assert version["spec"]["lineage"]["trainingRun"]["name"] == "one"
    assert version["status"]["champion"] == "Yes"
    assert stage.api.names("Job") == ["one-prepare-1", "one-register-1", "one-train-1"]
    stage.assert_converged(operator)


def test_restarted_operator_writes_nothing(stage: Stage) -> None:
    stage.apply("TrainingRun", "one", **RUN)
    operator = stage.start()
    succeed(stage, "one")
    stage.assert_converged(operator)
    operator.kill()
    writes = stage.writes()
    stage.assert_converged(stage.start())
    assert stage.writes() == writes


def test_failed_step_is_tried_again_with_the_next_attempt(stage: Stage) -> None:
    stage.nodes.failures["one-train-1"] = {"reason": "StoreUnreachable", "message": "no answer from the store"}
    stage.apply("TrainingRun", "one", **RUN)
    stage.start()
    succeed(stage, "one")
    assert stage.api.names("Job") == ["one-prepare-1", "one-register-1", "one-train-1", "one-train-2"]


def test_second_run_of_a_model_is_judged_against_the_champion(stage: Stage) -> None:
    for seed, name in enumerate(("one", "two")):
        stage.apply("TrainingRun", name, **RUN, seed=seed)
    stage.start()
    for name in ("one", "two"):
        succeed(stage, name)
    stage.until(lambda: stage.api.get("ModelVersion", "delay-v2")["status"].get("champion") == "Yes", "the champion")
    verdicts = [v["spec"]["evaluation"]["verdict"] for v in stage.api.all("ModelVersion")]
    assert verdicts == ["FirstVersion", "BetterThanChampion"]


@pytest.mark.parametrize("stop", ["inputs", "one-prepare-1", "one-train-1", "one-register-1", "end"])
def test_deleted_run_leaves_nothing_but_its_version(stage: Stage, stop: str) -> None:
    stage.nodes.answers_about_inputs = stop != "inputs"
    stage.nodes.held = stop
    stage.apply("TrainingRun", "one", **RUN)
    operator = stage.start()
    reached = {
        "inputs": lambda: stage.ready("TrainingRun", "one") != "",
        "end": lambda: stage.ready("TrainingRun", "one") == "Succeeded",
    }
    stage.until(reached.get(stop, lambda: stop in stage.api.names("Job")), stop)
    stage.api.delete("TrainingRun", "one")
    stage.nodes.held = ""
    stage.until(lambda: stage.nodes.collect_garbage() == 0, "nothing to be left to collect")
    assert stage.api.names("Job") == stage.api.names("Pod") == []
    assert stage.api.names("ModelVersion") == (["delay-v1"] if stop == "end" else [])
    stage.assert_converged(operator)


CHECKED = {**RUN, "inputs": [{**RUN["inputs"][0], "expectations": {"minimumRows": 1, "schema": "SameAsPrevious"}}]}


def test_expected_inputs_are_checked_before_the_first_step(stage: Stage) -> None:
    stage.nodes.held = "one-validate-1"
    stage.apply("TrainingRun", "one", **CHECKED)
    operator = stage.start()
    stage.until(lambda: stage.api.names("Job") != [], "the first Job")
    assert stage.api.names("Job") == ["one-validate-1"]
    stage.nodes.held = ""
    succeed(stage, "one")
    assert stage.api.names("Job") == ["one-prepare-1", "one-register-1", "one-train-1", "one-validate-1"]
    stage.assert_converged(operator)

    stage.apply("TrainingRun", "two", **CHECKED)
    succeed(stage, "two")
    fetch = stage.api.get("Job", "two-validate-1")["spec"]["template"]["spec"]["initContainers"][0]
    sources = next(v["value"] for v in fetch["env"] if v["name"] == "MODELYARD_SOURCES")
    assert [source["name"] for source in json.loads(sources)] == ["flights", "previous"]


def test_invalid_data_ends_the_run_without_another_attempt(stage: Stage) -> None:
    message = "input 'flights': column 'dep_delay' has 34.2 % missing, at most 5 % allowed"
    stage.nodes.failures["one-validate-1"] = {"reason": "DataInvalid", "message": message}
    stage.apply("TrainingRun", "one", **CHECKED)
    operator = stage.start()
    stage.until(lambda: stage.ready("TrainingRun", "one") == "!DataInvalid", "the run to fail")
    found = {c["type"]: c for c in stage.api.get("TrainingRun", "one")["status"]["conditions"]}
    assert (found["Stalled"]["reason"], found["Succeeded"]["status"]) == ("DataInvalid", "False")
    assert message in found["Ready"]["message"]
    assert stage.api.names("Job") == ["one-validate-1"]
    stage.assert_converged(operator)


def test_run_of_a_newer_operator_is_carried_out(stage: Stage) -> None:
    with stage.newer_definition("trainingruns"):
        stage.apply("TrainingRun", "one", **RUN, fromTheFuture="yes")
        assert stage.api.get("TrainingRun", "one")["spec"]["fromTheFuture"] == "yes"
        stage.start()
        succeed(stage, "one")
        assert stage.api.get("TrainingRun", "one")["spec"]["fromTheFuture"] == "yes"


GROUP_STEPS = [
    STEPS[0],
    {"name": "train", "image": "own:1", "inputs": ["features"], "outputs": ["model"], "numNodes": 4},
]


def test_group_has_a_service_while_it_works_and_then_nothing_is_written(stage: Stage) -> None:
    stage.nodes.held = "one-train-1"
    steps = [GROUP_STEPS[0], {**GROUP_STEPS[1], "checkpoint": {"gracePeriodSeconds": 5}, "progress": "Live"}]
    stage.apply("TrainingRun", "one", **{**RUN, "steps": steps})
    operator = stage.start()
    stage.until(lambda: "one-train-1" in stage.api.names("Job"), "the group")
    job = stage.api.get("Job", "one-train-1")
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 4)
    (service,) = stage.api.all("Service")
    assert service["metadata"]["name"] == job["spec"]["template"]["spec"]["subdomain"]
    assert service["spec"]["publishNotReadyAddresses"] is True
    stage.api.delete("Service", "one-train-1")
    stage.until(lambda: stage.api.names("Service") == ["one-train-1"], "the Service to be made anew")
    stage.assert_converged(operator)
    stage.nodes.held = ""
    succeed(stage, "one")
    assert stage.api.names("Service") == []
    stage.assert_converged(operator)


def test_group_that_lost_a_pod_is_tried_again_without_blame(stage: Stage) -> None:
    stage.nodes.held = "one-train-1"
    stage.nodes.failures["one-train-1"] = {"reason": "StepFailed", "message": "rank 3 does not answer"}
    stage.apply("TrainingRun", "one", **{**RUN, "steps": GROUP_STEPS, "backoffLimit": 0})
    stage.start()
    stage.until(lambda: "one-train-1" in stage.api.names("Job"), "the group")
    stage.nodes.make_pods(stage.api.get("Job", "one-train-1"))
    disruption = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
    stage.api.patch_status("Pod", "one-train-1-3-pod", {"conditions": [disruption]})
    stage.until(lambda: trained(stage).get("reason") == "Drained", "the loss to be seen")
    stage.api.delete("Pod", "one-train-1-3-pod")
    stage.nodes.held = ""
    succeed(stage, "one")
    assert (trained(stage)["attempt"], trained(stage)["failures"]) == (2, 0)
    assert stage.api.names("Service") == []


def trained(stage: Stage) -> dict[str, Any]:
    """What status says of the step `train`."""
    return next(dict(s) for s in stage.api.get("TrainingRun", "one")["status"]["steps"] if s["name"] == "train")
