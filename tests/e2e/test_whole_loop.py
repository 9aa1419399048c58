"""Real data becomes a model, a version and an endpoint; a second run is judged against the first."""

import json
import ssl
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from dev.cluster.certificates import Authority
from dev.cluster.paths import state_dir
from tests.support.load import load
from tests.support.tenant import Tenant, condition_of, deployment, small_run, small_table
from tests.support.waiting import wait_until

MODEL = "loop"
RUN_SECONDS = 180
REQUEST = json.dumps(
    {
        "inputs": [
            {"name": "size", "shape": [1, 1], "datatype": "FP32", "data": [2.5]},
            {"name": "colour", "shape": [1, 1], "datatype": "BYTES", "data": ["red"]},
        ]
    }
).encode()


@pytest.fixture(scope="module")
def first(tenant: Tenant) -> dict[str, Any]:
    """The first run of the model, finished."""
    tenant.put("table.csv", small_table(seed=1))
    tenant.apply(small_run(tenant, "loop-1", model=MODEL, data="table.csv", seed=7))
    tenant.wait_condition("trun", "loop-1", "Ready", "True", seconds=RUN_SECONDS)
    return tenant.get("trun", "loop-1")


@pytest.fixture(scope="module")
def served(tenant: Tenant, first: dict[str, Any]) -> dict[str, Any]:
    """The champion, served."""
    assert first
    tenant.apply(deployment(MODEL, {"name": MODEL, "alias": "champion"}, replicas=1))
    tenant.wait_condition("mdep", MODEL, "Ready", "True", seconds=120)
    return tenant.get("mdep", MODEL)


def rows(seed: int, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    lines = small_table(seed, count).decode().splitlines()[1:]
    cells = [line.split(",") for line in lines]
    sizes = np.array([[float(cell[1])] for cell in cells], dtype=np.float32)
    colours = np.array([[cell[2]] for cell in cells], dtype=object)
    return sizes, colours


def test_run_records_what_it_read_made_and_measured(tenant: Tenant, first: dict[str, Any]) -> None:
    status = first["status"]
    assert [step["state"] for step in status["steps"]] == ["Succeeded"] * 3
    assert status["inputs"][0]["digest"].startswith("sha256:")
    version = tenant.get("mv", status["modelVersionName"])["spec"]
    assert version["lineage"]["trainingRun"]["uid"] == first["metadata"]["uid"]
    assert version["lineage"]["inputs"][0]["digest"] == status["inputs"][0]["digest"]
    assert version["evaluation"]["verdict"] == "FirstVersion"
    assert 0.75 < float(version["evaluation"]["value"]) <= 1


def test_version_is_verified_and_champion(tenant: Tenant, first: dict[str, Any]) -> None:
    name = first["status"]["modelVersionName"]
    tenant.wait_condition("mv", name, "ArtifactAvailable", "True", reason="Verified", seconds=60)
    assert tenant.get("mv", name)["status"]["champion"] == "Yes"


def test_endpoint_answers_a_plain_json_client(tenant: Tenant, served: dict[str, Any]) -> None:
    assert served["status"]["url"].startswith(f"http://{MODEL}.{tenant.namespace}")
    with tenant.installation.forward(f"service/{MODEL}", 80, tenant.namespace) as port:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer", REQUEST)
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            answer = json.load(response)
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["label"] == [1]
    assert outputs["probabilities"][1] > 0.8


def test_endpoint_answers_the_reference_client(tenant: Tenant, served: dict[str, Any]) -> None:
    assert served
    sizes, colours = rows(seed=3)
    inputs = [
        tritonclient.http.InferInput("size", list(sizes.shape), "FP32"),
        tritonclient.http.InferInput("colour", list(colours.shape), "BYTES"),
    ]
    inputs[0].set_data_from_numpy(sizes)
    inputs[1].set_data_from_numpy(colours)
    with tenant.installation.forward(f"service/{MODEL}", 80, tenant.namespace) as port:
        client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
        assert client.is_model_ready(MODEL)
        answer = client.infer(MODEL, inputs)
        client.close()
    assert answer.as_numpy("probabilities").shape == (4, 2)


def test_endpoint_serves_rest_and_grpc_over_tls_once_its_secret_is_there(
    tenant: Tenant, first: dict[str, Any], tmp_path: Path
) -> None:
    assert first
    name = "secured"
    wanted = {"protocols": ["REST", "GRPC"], "tls": {"secretName": "secured-tls"}}
    tenant.apply(deployment(name, {"name": MODEL, "version": 1}, replicas=1, **wanted))
    found = tenant.wait_condition("mdep", name, "RolledOut", "False", reason="InvalidCertificate", seconds=60)
    assert "`spec.endpoint.tls`" in found["message"]

    authority = Authority(tmp_path)
    pair = authority.server("secured", ["localhost", f"{name}.{tenant.namespace}.svc"])
    data = {"tls.crt": pair.certificate.read_text(), "tls.key": pair.key.read_text()}
    metadata = {"name": "secured-tls"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata,
        "stringData": data,
    }
    tenant.apply(secret)
    tenant.wait_condition("mdep", name, "Ready", "True", seconds=120)
    assert tenant.get("mdep", name)["status"]["url"] == f"https://{name}.{tenant.namespace}.svc"

    trust = ssl.create_default_context(cafile=str(authority.root.certificate))
    with (
        tenant.installation.forward(f"service/{name}", 443, tenant.namespace) as port,
        urllib.request.urlopen(f"https://localhost:{port}/v2/models/{MODEL}", context=trust, timeout=10) as response,
    ):
        assert json.load(response)["versions"] == ["1"]
    sizes, colours = rows(seed=3)
    inputs = [
        tritonclient.grpc.InferInput("size", list(sizes.shape), "FP32"),
        tritonclient.grpc.InferInput("colour", list(colours.shape), "BYTES"),
    ]
    inputs[0].set_data_from_numpy(sizes)
    inputs[1].set_data_from_numpy(colours)
    with tenant.installation.forward(f"service/{name}", 9000, tenant.namespace) as port:
        root = str(authority.root.certificate)
        with tritonclient.grpc.InferenceServerClient(f"localhost:{port}", ssl=True, root_certificates=root) as client:
            assert client.infer(MODEL, inputs).as_numpy("probabilities").shape == (4, 2)
    tenant.delete(f"mdep/{name}")


def test_rolling_restart_under_load_fails_no_request(tenant: Tenant, first: dict[str, Any]) -> None:
    """Through the Service: pods come and go, and clients that reconnect when told to notice nothing."""
    assert first
    if not (state_dir() / "audit.log").exists():
        pytest.skip("a Service's address is reached from its node alone, which is not this machine with kind")
    name = "restarted"
    tenant.apply(deployment(name, {"name": MODEL, "version": 1}, replicas=2))
    tenant.wait_condition("mdep", name, "Ready", "True", seconds=120)
    kubectl = tenant.installation.kubectl
    space = f"--namespace={tenant.namespace}"
    address = kubectl("get", "service", name, space, "--output=jsonpath={.spec.clusterIP}")
    (revision,) = kubectl("get", "deployment", f"--selector=modelyard.dev/deployment={name}", space, "-oname").split()
    before = _pods(tenant, name)
    with load((address, 80), f"/v2/models/{MODEL}/infer", REQUEST, clients=16) as clients:
        wait_until(lambda: all(client.answered > 20 for client in clients), seconds=30, what="load")
        kubectl("rollout", "restart", revision, space)
        kubectl("rollout", "status", revision, space, "--timeout=120s", timeout=150)
        wait_until(lambda: not before & _pods(tenant, name), seconds=90, what="the old pods to be gone")
        answered = sum(client.answered for client in clients)
        wait_until(lambda: sum(c.answered for c in clients) > answered + 100, seconds=30, what="answers of new pods")
    assert all(client.ended > 0 for client in clients)
    tenant.delete(f"mdep/{name}")


def _pods(tenant: Tenant, deployment_name: str) -> set[str]:
    selector = f"--selector=modelyard.dev/deployment={deployment_name}"
    return set(
        tenant.installation.kubectl("get", "pods", selector, f"--namespace={tenant.namespace}", "-oname").split()
    )


def test_same_data_is_not_better_and_the_champion_stays(tenant: Tenant, served: dict[str, Any]) -> None:
    """The second run sees the same rows and may not claim an improvement that it does not have."""
    tenant.apply(
        small_run(tenant, "loop-2", model=MODEL, data="table.csv", seed=8)
        | {"metadata": {"name": "loop-2", "labels": {"team": "blue"}}}
    )
    tenant.wait_condition("trun", "loop-2", "Ready", "True", seconds=RUN_SECONDS)
    evaluation = tenant.get("mv", "loop-v2")["spec"]["evaluation"]
    assert evaluation["champion"]["version"] == 1
    assert evaluation["value"] == evaluation["champion"]["value"]
    assert evaluation["verdict"] == "NotBetter"
    now = tenant.wait(
        "mdep", MODEL, lambda d: condition_of(d, "Ready").get("status") == "True", seconds=60, what="Ready"
    )
    champions = [v["metadata"]["name"] for v in tenant.list("mv") if v["status"].get("champion") == "Yes"]
    assert now["status"]["model"]["version"] == int(champions[0].rsplit("v", 1)[1])
    assert len(champions) == 1
    assert served["status"]["model"]["version"] == 1


def test_run_with_nothing_changed_takes_everything_over_at_once(tenant: Tenant, first: dict[str, Any]) -> None:
    tenant.apply(small_run(tenant, "loop-same", model=MODEL, data="table.csv", seed=7))
    tenant.wait_condition("trun", "loop-same", "Ready", "True", seconds=30)
    run = tenant.get("trun", "loop-same")
    assert [step["state"] for step in run["status"]["steps"]] == ["Cached"] * 3
    assert run["status"]["modelVersionName"] == first["status"]["modelVersionName"]
    assert not tenant.list("jobs,pods", "modelyard.dev/training-run=loop-same")
    created, ended = run["metadata"]["creationTimestamp"], run["status"]["completionTime"]
    assert (datetime.fromisoformat(ended) - datetime.fromisoformat(created)).total_seconds() <= 5


def test_version_that_does_not_exist_leaves_what_serves(tenant: Tenant, served: dict[str, Any]) -> None:
    assert served
    tenant.apply(deployment(MODEL, {"name": MODEL, "version": 99}, replicas=1))
    found = tenant.wait_condition("mdep", MODEL, "ModelResolved", "False", reason="VersionNotFound", seconds=30)
    assert "version 99" in found["message"]
    assert condition_of(tenant.get("mdep", MODEL), "Available")["status"] == "True"
    tenant.apply(deployment(MODEL, {"name": MODEL, "version": 1}, replicas=1))
    tenant.wait_condition("mdep", MODEL, "Ready", "True", seconds=60)
