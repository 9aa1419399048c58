import json
from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.api.v1alpha1.deployment import Deployment
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.deployment.children import build_pod
from modelyard.controller.kinds.deployment.revision import Revision
from tests.unit.kinds.deployment.world import World, version

LOG = {"samplePercent": 10, "columns": ["distance", "odd $(name)"]}


def pod_of(log: dict[str, Any] | None) -> Manifest:
    monitoring = {"predictionLog": log} if log else {}
    spec = {"model": {"name": "delay", "version": 7}, "monitoring": monitoring}
    owner = Deployment.model_validate(
        {"metadata": {"name": "delay", "namespace": "air", "uid": "owner-1"}, "spec": spec}
    )
    revision = Revision.of(ModelVersion.model_validate(version(7)), owner.spec.endpoint, "server:1")
    pod: Manifest = build_pod(owner, revision, "Always")["spec"]
    return pod


def test_without_a_log_there_is_no_sidecar() -> None:
    pod = pod_of(None)
    assert [container["name"] for container in pod["initContainers"]] == ["fetch"]
    assert [volume["name"] for volume in pod["volumes"]] == ["model", "tmp"]
    assert not any(e["name"].startswith("MODELYARD_PREDICTION_LOG") for e in pod["containers"][0]["env"])


def test_with_a_log_a_native_sidecar_alone_has_the_store() -> None:
    pod = pod_of(LOG)
    _, courier = pod["initContainers"]
    assert (courier["name"], courier["restartPolicy"], courier["image"]) == ("courier", "Always", "server:1")
    assert courier["command"] == ["python", "-m", "modelyard.steps.courier"]
    assert courier["envFrom"] == [{"secretRef": {"name": "modelyard-store"}}]
    assert courier["securityContext"]["readOnlyRootFilesystem"] is True
    values = {entry["name"]: entry.get("value") for entry in courier["env"]}
    assert (values["MODELYARD_DEPLOYMENT"], values["MODELYARD_MODEL_VERSION"]) == ("delay", "7")
    assert courier["env"][-1]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"
    (server,) = pod["containers"]
    assert "envFrom" not in server
    assert pod["volumes"][-1] == {"name": "predictions", "emptyDir": {"sizeLimit": "256Mi"}}
    assert server["volumeMounts"][-1] == courier["volumeMounts"][0]


def test_server_is_told_what_to_log() -> None:
    (server,) = pod_of(LOG)["containers"]
    values = {entry["name"]: entry["value"] for entry in server["env"]}
    assert values["MODELYARD_PREDICTION_LOG_PERCENT"] == "10"
    assert json.loads(values["MODELYARD_PREDICTION_LOG_COLUMNS"].replace("$$", "$")) == LOG["columns"]
    assert values["MODELYARD_PREDICTION_LOG_DIR"] == server["volumeMounts"][-1]["mountPath"]


def test_courier_gets_time_after_the_server() -> None:
    without, logging = (pod_of(log)["terminationGracePeriodSeconds"] for log in (None, LOG))
    assert logging == without + 25


def test_log_that_is_turned_on_rolls_natively_and_is_no_new_revision() -> None:
    world = World()
    world.settle()
    ((revision, before),) = world.workloads.items()
    world.ask(monitoring={"predictionLog": LOG})
    world.settle()
    ((same, after),) = world.workloads.items()
    assert same == revision
    assert before["spec"]["template"] != after["spec"]["template"]
    assert world.status["model"]["revision"] == revision.removeprefix("delay-")


@pytest.mark.parametrize("percent", [0, 101, 1.5])
def test_share_outside_its_range_is_refused(percent: float) -> None:
    with pytest.raises(ValidationError, match="samplePercent"):
        pod_of({"samplePercent": percent})
