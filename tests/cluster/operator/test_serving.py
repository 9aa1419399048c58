from datetime import datetime
from typing import Any

import pytest

from tests.cluster.operator.conftest import Stage
from tests.cluster.operator.nodes import DIGITS

pytestmark = pytest.mark.cluster


def register(stage: Stage, number: int) -> None:
    """Register a version as a person would."""
    digits = f"{number:064x}"
    artifact = {"uri": f"s3://yard/air/blobs/sha256/{digits}", "digest": f"sha256:{digits}"}
    stage.apply("ModelVersion", f"delay-v{number}", model="delay", version=number, artifact=artifact)


def serve(stage: Stage, number: int, **more: Any) -> None:
    stage.apply("Deployment", "delay", model={"name": "delay", "version": number}, **more)


def serving(stage: Stage) -> int | None:
    model = stage.api.get("Deployment", "delay").get("status", {}).get("model")
    return model["version"] if model else None


def selected(stage: Stage) -> str:
    return str(stage.api.get("Service", "delay")["spec"]["selector"]["modelyard.dev/revision"])


def sizes(stage: Stage) -> dict[str, int]:
    return {
        workload["metadata"]["labels"]["modelyard.dev/version"]: workload["spec"]["replicas"]
        for workload in stage.api.all("Workload")
    }


def is_served(stage: Stage, number: int) -> bool:
    return serving(stage) == number and stage.ready("Deployment", "delay") == "Serving"


def test_second_version_takes_the_traffic_when_it_is_ready_and_the_first_drains(stage: Stage) -> None:
    register(stage, 1)
    register(stage, 2)
    serve(stage, 1, endpoint={"replicas": 2})
    operator = stage.start()
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")
    old = selected(stage)

    serve(stage, 2, endpoint={"replicas": 2})
    stage.nodes.asleep = True
    stage.until(lambda: sizes(stage) == {"1": 2, "2": 2}, "the candidate to be made")
    assert (selected(stage), serving(stage)) == (old, 1)

    stage.nodes.asleep = False
    stage.until(lambda: is_served(stage, 2), "version 2 to serve")
    assert selected(stage) == stage.api.get("Deployment", "delay")["status"]["model"]["revision"] != old
    assert sizes(stage)["1"] == 2

    stage.until(lambda: sizes(stage) == {"1": 0, "2": 2}, "version 1 to be scaled down")
    flipped = datetime.fromisoformat(stage.api.get("Deployment", "delay")["status"]["history"][0]["fromTime"])
    scaled = next(
        datetime.fromisoformat(entry["time"])
        for entry in stage.api.get("Workload", f"delay-{old}")["metadata"]["managedFields"]
        if entry["manager"] == "modelyard-operator"
    )
    assert (scaled - flipped).total_seconds() >= 10
    stage.assert_converged(operator)


def test_pods_of_a_revision_are_admitted_as_restricted(stage: Stage) -> None:
    register(stage, 1)
    serve(stage, 1)
    stage.start()
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")
    (workload,) = stage.api.all("Workload")
    stage.nodes.make_pod(workload, workload["spec"]["template"], "one-pod")


def test_deployment_waits_for_its_version(stage: Stage) -> None:
    serve(stage, 1)
    stage.start()
    stage.until(lambda: stage.ready("Deployment", "delay") == "!VersionNotFound", "the version to be missed")
    assert stage.api.names("Service") == stage.api.names("Workload") == []
    register(stage, 1)
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")


def test_retired_version_falls_back_to_the_one_before(stage: Stage) -> None:
    register(stage, 1)
    register(stage, 2)
    serve(stage, 1)
    operator = stage.start()
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")
    serve(stage, 2)
    stage.until(lambda: is_served(stage, 2), "version 2 to serve")
    stage.api.patch("ModelVersion", "delay-v2", {"spec": {"retired": {"reason": "wrong on Mondays"}}})
    stage.until(lambda: serving(stage) == 1, "version 1 to serve again")
    assert stage.ready("Deployment", "delay") == "!Retired"
    stage.until(lambda: sizes(stage) == {"1": 1, "2": 0}, "version 2 to be scaled down")
    stage.assert_converged(operator)


def test_alias_follows_a_run_to_the_new_champion(stage: Stage) -> None:
    steps = [{"name": "train", "uses": "tabular/train@v1", "outputs": ["model"]}]
    evaluation = {"dataset": "model", "metric": "rocAuc", "goal": "Maximize"}
    stage.apply("Deployment", "delay", model={"name": "delay", "alias": "champion"})
    stage.start()
    stage.until(lambda: stage.ready("Deployment", "delay") == "!NoChampion", "no champion")
    stage.apply("TrainingRun", "one", model="delay", steps=steps, evaluation=evaluation)
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")
    assert stage.api.get("Deployment", "delay")["status"]["model"]["digest"] == f"sha256:{DIGITS}"


def test_service_of_somebody_else_is_a_conflict_and_stays_as_it_is(stage: Stage) -> None:
    ports = [{"port": 9, "protocol": "TCP"}]
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "delay"}, "spec": {"ports": ports}}
    stage.api.create("Service", foreign)
    register(stage, 1)
    serve(stage, 1)
    operator = stage.start()
    stage.until(lambda: stage.ready("Deployment", "delay") == "!Conflict", "the conflict")
    stage.assert_converged(operator)
    assert stage.api.names("Workload") == []
    assert stage.api.get("Service", "delay")["spec"]["ports"][0]["port"] == 9

    stage.api.delete("Service", "delay")
    stage.api.patch("Deployment", "delay", {"metadata": {"annotations": {"look": "again"}}})
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")


def test_what_a_hand_has_changed_is_put_right(stage: Stage) -> None:
    register(stage, 1)
    serve(stage, 1)
    stage.start()
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")
    revision = selected(stage)
    stage.api.patch("Service", "delay", {"spec": {"selector": {"modelyard.dev/revision": "0000000000"}}})
    stage.until(lambda: selected(stage) == revision, "the selector to be put right")
    stage.api.delete("Workload", f"delay-{revision}")
    stage.until(lambda: stage.api.names("Workload") == [f"delay-{revision}"], "the workload to be made again")


def test_scale_subresource_reaches_the_pods(stage: Stage) -> None:
    register(stage, 1)
    serve(stage, 1)
    stage.start()
    stage.until(lambda: is_served(stage, 1), "version 1 to serve")
    namespace = stage.api.namespace
    stage.plane.kubectl("scale", "deployments.modelyard.dev/delay", "--replicas=3", "--namespace", namespace)
    stage.until(lambda: stage.api.get("Deployment", "delay")["status"].get("readyReplicas") == 3, "three ready pods")


@pytest.mark.parametrize("stop", ["unresolved", "candidate", "serving"])
def test_deleted_deployment_leaves_nothing(stage: Stage, stop: str) -> None:
    if stop != "unresolved":
        register(stage, 1)
    stage.nodes.asleep = stop == "candidate"
    serve(stage, 1)
    operator = stage.start()
    reasons = {"unresolved": "!VersionNotFound", "candidate": "!Progressing", "serving": "Serving"}
    stage.until(lambda: stage.ready("Deployment", "delay") == reasons[stop], stop)
    stage.api.delete("Deployment", "delay")
    stage.until(lambda: stage.nodes.collect_garbage() == 0, "nothing to be left to collect")
    assert stage.api.names("Workload") == stage.api.names("Service") == []
    stage.assert_converged(operator)
