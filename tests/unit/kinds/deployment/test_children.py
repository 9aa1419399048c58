from typing import Any

import pytest

from modelyard.api.v1alpha1.deployment import Deployment
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.deployment.children import build_service, build_workload
from modelyard.controller.kinds.deployment.revision import ANNOTATION_REVISION, Revision
from tests.unit.kinds.deployment.world import digest, version


def deployment(**endpoint: Any) -> Deployment:
    metadata = {"name": "delay", "namespace": "air", "uid": "owner-1"}
    return Deployment.model_validate(
        {"metadata": metadata, "spec": {"model": {"name": "delay", "version": 7}, "endpoint": endpoint}}
    )


def revision_of(owner: Deployment) -> Revision:
    return Revision.of(ModelVersion.model_validate(version(7)), owner.spec.endpoint, "server:1")


def workload(**endpoint: Any) -> Manifest:
    owner = deployment(**endpoint)
    return build_workload(owner, revision_of(owner), replicas=2, pull_policy="Always")


def containers(manifest: Manifest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fetch and the server container."""
    pod = manifest["spec"]["template"]["spec"]
    (fetch,), (server,) = pod["initContainers"], pod["containers"]
    return fetch, server


def test_workload_is_named_labelled_and_owned_as_the_contract_says() -> None:
    manifest = workload()
    identity = revision_of(deployment()).id
    assert manifest["metadata"]["name"] == f"delay-{identity}"
    assert manifest["spec"]["selector"]["matchLabels"] == {
        "modelyard.dev/deployment": "delay",
        "modelyard.dev/revision": identity,
    }
    labels = {
        "app.kubernetes.io/managed-by": "modelyard",
        "app.kubernetes.io/part-of": "modelyard",
        "app.kubernetes.io/component": "serving",
        "modelyard.dev/owner-uid": "owner-1",
        "modelyard.dev/deployment": "delay",
        "modelyard.dev/revision": identity,
        "modelyard.dev/model": "delay",
        "modelyard.dev/version": "7",
    }
    assert manifest["metadata"]["labels"] == labels
    assert manifest["spec"]["template"]["metadata"]["labels"] == labels
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "owner-1"


def test_server_gets_the_environment_of_the_contract_and_no_store() -> None:
    fetch, server = containers(workload(timeoutSeconds=30, maxRequestBytes=2048, maxRows=9))
    environment = {variable["name"]: variable["value"] for variable in server["env"]}
    assert environment == {
        "MODELYARD_MODEL_DIR": "/modelyard/model",
        "MODELYARD_MODEL_NAME": "delay",
        "MODELYARD_MODEL_VERSION": "7",
        "MODELYARD_MODEL_DIGEST": digest(7),
        "MODELYARD_DEPLOYMENT": "delay",
        "MODELYARD_TRACK": "stable",
        "MODELYARD_TIMEOUT_SECONDS": "30",
        "MODELYARD_MAX_REQUEST_BYTES": "2048",
        "MODELYARD_MAX_ROWS": "9",
        "MODELYARD_DRAIN_SECONDS": "5",
    }
    assert "envFrom" not in server
    assert fetch["envFrom"] == [{"secretRef": {"name": "modelyard-store"}}]
    assert {"name": "model", "mountPath": "/modelyard/model", "subPath": "model", "readOnly": True} in server[
        "volumeMounts"
    ]


def test_pod_is_given_time_to_drain_and_to_answer() -> None:
    assert workload(timeoutSeconds=30)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 45


@pytest.mark.parametrize("which", [0, 1])
def test_containers_are_restricted(which: int) -> None:
    manifest = workload()
    assert manifest["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert containers(manifest)[which]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_resources_are_the_users_or_small() -> None:
    assert containers(workload())[1]["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}}
    given = {"limits": {"nvidia.com/gpu": 1}}
    assert containers(workload(resources=given))[1]["resources"] == given


def test_service_selects_one_revision() -> None:
    service = build_service(deployment(), "0123456789", tls=False)
    assert service["metadata"]["name"] == "delay"
    assert service["spec"]["selector"]["modelyard.dev/revision"] == "0123456789"
    assert (service["spec"]["ports"][0]["port"], service["spec"]["ports"][0]["targetPort"]) == (80, "http")


def test_server_without_wishes_speaks_rest_in_the_clear() -> None:
    _, server = containers(workload())
    assert [port["name"] for port in server["ports"]] == ["http", "metrics"]
    assert server["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}


def test_grpc_gets_a_port_in_pod_and_service() -> None:
    wanted = {"protocols": ["REST", "GRPC"]}
    _, server = containers(workload(**wanted))
    assert {"name": "MODELYARD_GRPC_PORT", "value": "9000"} in server["env"]
    assert {"name": "grpc", "containerPort": 9000, "protocol": "TCP"} in server["ports"]
    ports = build_service(deployment(**wanted), "0123456789", tls=False)["spec"]["ports"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("http", 80, "http"),
        ("grpc", 9000, "grpc"),
    ]
    assert ports[1]["appProtocol"] == "kubernetes.io/h2c"


def test_tls_mounts_certificate_and_key_of_the_secret_read_only() -> None:
    manifest = workload(tls={"secretName": "delay-tls"})
    _, server = containers(manifest)
    volumes = {volume["name"]: volume for volume in manifest["spec"]["template"]["spec"]["volumes"]}
    assert volumes["tls"]["secret"] == {
        "secretName": "delay-tls",
        "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
        "defaultMode": 0o440,
        "optional": True,
    }
    assert {"name": "tls", "mountPath": "/modelyard/tls", "readOnly": True} in server["volumeMounts"]
    assert {"name": "MODELYARD_TLS_DIR", "value": "/modelyard/tls"} in server["env"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"]["scheme"] == "HTTPS"


def test_service_over_tls_has_no_port_in_the_clear() -> None:
    ports = build_service(deployment(protocols=["REST", "GRPC"]), "0123456789", tls=True)["spec"]["ports"]
    assert [(port["name"], port["port"], port["appProtocol"]) for port in ports] == [
        ("https", 443, "https"),
        ("grpc", 9000, "https"),
    ]


@pytest.mark.parametrize(("limits", "device"), [({"nvidia.com/gpu": 1}, "cuda"), ({"nvidia.com/gpu": "0"}, None)])
def test_server_with_a_gpu_uses_it(limits: dict[str, Any], device: str | None) -> None:
    _, server = containers(workload(resources={"limits": limits}))
    devices = [variable["value"] for variable in server["env"] if variable["name"] == "MODELYARD_DEVICE"]
    assert devices == ([device] if device else [])


@pytest.mark.parametrize(
    "change",
    [
        {"timeoutSeconds": 11},
        {"maxRequestBytes": 2048},
        {"maxRows": 1},
        {"podTemplate": {"labels": {"team": "air"}}},
        {"podTemplate": {"annotations": {"note": "x"}}},
        {"podTemplate": {"runtimeClassName": "gvisor"}},
        {"tls": {"secretName": "delay-tls"}},
    ],
)
def test_behaviour_is_part_of_the_revision(change: dict[str, Any]) -> None:
    assert revision_of(deployment(**change)).id != revision_of(deployment()).id


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 9},
        {"resources": {"limits": {"cpu": 2}}},
        {"protocols": ["REST", "GRPC"]},
        {"podTemplate": {"nodeSelector": {"zone": "a"}}},
        {"podTemplate": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
        {"podTemplate": {"priorityClassName": "high"}},
    ],
)
def test_size_and_place_are_not_part_of_the_revision(change: dict[str, Any]) -> None:
    assert revision_of(deployment(**change)).id == revision_of(deployment()).id
    manifest = workload(**change)
    assert manifest["metadata"]["name"] == workload()["metadata"]["name"]


def test_revision_survives_its_annotation() -> None:
    owner = deployment(podTemplate={"labels": {"team": "air"}, "runtimeClassName": "gvisor"})
    manifest = build_workload(owner, revision_of(owner), replicas=1, pull_policy="Always")
    assert Revision.recorded_in(manifest) == revision_of(owner)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"newField": 1}'])
def test_revision_that_cannot_be_rebuilt_is_not_recorded(text: str) -> None:
    manifest = workload()
    manifest["metadata"]["annotations"][ANNOTATION_REVISION] = text
    assert Revision.recorded_in(manifest) is None


def test_revision_of_a_newer_operator_is_not_taken_for_one_of_ours() -> None:
    manifest = workload()
    recorded = manifest["metadata"]["annotations"][ANNOTATION_REVISION]
    manifest["metadata"]["annotations"][ANNOTATION_REVISION] = recorded.replace("{", '{"protocol":"GRPC",', 1)
    manifest["metadata"]["labels"]["modelyard.dev/revision"] = "ffffffffff"
    assert Revision.recorded_in(manifest) is None


def test_identity_of_a_revision_does_not_change_with_the_operator() -> None:
    assert revision_of(deployment()).id == "4db48b865e"
