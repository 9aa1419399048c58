"""The charts on a real node, with objects: an upgrade and an uninstall touch nothing that serves."""

import json
import urllib.request

import pytest

from dev.install import RELEASE, SYSTEM_NAMESPACE
from tests.e2e.conftest import Yard
from tests.support.tenant import Tenant, deployment, small_run, small_table

MODEL = "kept"


@pytest.fixture(scope="module")
def serving(tenant: Tenant) -> Tenant:
    """A tenant with a model that serves."""
    tenant.put("table.csv", small_table(seed=5))
    tenant.apply(small_run(tenant, "kept-1", model=MODEL, data="table.csv"))
    tenant.wait_condition("trun", "kept-1", "Ready", "True", seconds=180)
    tenant.apply(deployment(MODEL, {"name": MODEL, "alias": "champion"}))
    tenant.wait_condition("mdep", MODEL, "Ready", "True", seconds=120)
    return tenant


def serving_pods(tenant: Tenant) -> dict[str, int]:
    pods = tenant.list("pods", f"modelyard.dev/deployment={MODEL}")
    return {pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"]["containerStatuses"]) for pod in pods}


def is_served(tenant: Tenant) -> bool:
    with (
        tenant.installation.forward(f"service/{MODEL}", 80, tenant.namespace) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{MODEL}/ready", timeout=10) as answer,
    ):
        return bool(json.load(answer)["ready"])


def test_upgrade_to_two_replicas_leaves_what_serves_alone(serving: Tenant, yard: Yard) -> None:
    before = serving_pods(serving)
    yard.installation.install_operator(yard.images, values={"operator": {"replicas": 2}})
    serving.apply(small_run(serving, "kept-2", model=MODEL, data="table.csv", seed=9))
    serving.wait_condition("trun", "kept-2", "Ready", "True", seconds=180)
    assert serving_pods(serving) == before
    assert is_served(serving)


def test_uninstall_leaves_what_serves_and_a_new_install_takes_over(serving: Tenant, yard: Yard) -> None:
    before = serving_pods(serving)
    runs = {run["metadata"]["uid"] for run in serving.list("trun")}
    yard.installation.helm("uninstall", RELEASE, f"--namespace={SYSTEM_NAMESPACE}", "--wait")
    assert is_served(serving)
    assert {run["metadata"]["uid"] for run in serving.list("trun")} == runs
    yard.installation.install_operator(yard.images)
    serving.installation.kubectl(
        "patch", f"mdep/{MODEL}", f"-n={serving.namespace}", "--type=merge", '-p={"spec":{"endpoint":{"replicas":2}}}'
    )
    serving.wait("mdep", MODEL, lambda found: found["status"].get("readyReplicas") == 2, seconds=120, what="2 replicas")
    assert before.keys() <= serving_pods(serving).keys()
