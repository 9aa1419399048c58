"""The demo and the examples do what the README says, and leave a cluster that is at rest."""

import subprocess
import sys

import pytest
import yaml

from bench.cluster import converged_writes
from dev.cluster.paths import REPOSITORY, state_dir
from dev.demo import ENVIRONMENT, MODEL, TENANT
from tests.e2e.conftest import Yard
from tests.support.tenant import Tenant
from tests.support.waiting import wait_until

NAMESPACE = f"{TENANT}-{ENVIRONMENT}"
DEMO_SECONDS = 400


@pytest.fixture(scope="module")
def demo(yard: Yard) -> tuple[Tenant, str]:
    """The demo, run as `make demo` runs it; the tenant that it leaves, and what it printed."""
    command = [sys.executable, "-m", "dev.demo"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEMO_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Tenant(yard.installation, NAMESPACE, yard.store), done.stdout


def test_demo_ends_with_three_predictions_and_what_to_try_next(demo: tuple[Tenant, str]) -> None:
    _, printed = demo
    assert printed.count("likely to be more than 15 minutes late") == 3
    assert "What to try next" in printed


def test_demo_model_is_the_champion_that_serves(demo: tuple[Tenant, str]) -> None:
    tenant, _ = demo
    champion = next(
        v for v in tenant.list("mv", f"modelyard.dev/model={MODEL}") if v["status"].get("champion") == "Yes"
    )
    assert tenant.get("mdep", MODEL)["status"]["model"]["version"] == champion["spec"]["version"]
    assert 0.65 < float(champion["spec"]["evaluation"]["value"]) < 0.85


def test_own_code_example_publishes_a_version(demo: tuple[Tenant, str]) -> None:
    tenant, _ = demo
    manifest = yaml.safe_load((REPOSITORY / "examples" / "own-code" / "trainingrun.yaml").read_text())
    name = manifest["metadata"]["name"]
    tenant.apply(manifest)
    tenant.wait_condition("trun", name, "Ready", "True", seconds=180)
    version = tenant.get("trun", name)["status"]["modelVersionName"]
    assert tenant.get("mv", version)["spec"]["evaluation"]["metric"] == "rocAuc"


def test_converged_cluster_sees_no_write_of_the_operator_for_a_minute(demo: tuple[Tenant, str]) -> None:
    tenant, _ = demo
    if not (state_dir() / "audit.log").exists():
        pytest.skip("this machine's cluster is kind's, whose audit log is inside its node")
    for kind in ("trun", "mv", "mdep"):
        for item in tenant.list(kind):
            tenant.wait_condition(kind, item["metadata"]["name"], "Ready", "True", seconds=60)
    wait_until(lambda: _drained(tenant), seconds=60, what="revisions that serve no more to be scaled down")
    assert converged_writes().values == (0,)


def _drained(tenant: Tenant) -> bool:
    """Whether one revision of the model is left; on a cluster that was there before, the demo replaces one."""
    revisions = tenant.list("deployments.apps", f"modelyard.dev/deployment={MODEL}")
    return sum(revision["spec"]["replicas"] > 0 for revision in revisions) == 1
