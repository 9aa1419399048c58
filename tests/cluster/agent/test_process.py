"""The agent as its pod runs it: as a process, with a token and no more rights than the chart gives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from dev.generate import REPOSITORY
from modelyard.storage.manifests import digest_of
from tests.support.controlplane import ClusterAccess
from tests.support.s3 import S3Server, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.cluster
START = """
import pathlib, sys
import modelyard.agent.kube
modelyard.agent.kube.ACCOUNT_FOLDER = pathlib.Path(sys.argv[1])
from modelyard.agent.main import main
main()
"""


@pytest.fixture
def account(definitions: ClusterAccess, namespace: str, tmp_path: Path) -> Path:
    """A folder as the kubelet mounts it, for a ServiceAccount with the rights of the chart."""
    role = (REPOSITORY / "charts/modelyard-tenant/templates/role-agent.yaml").read_text()
    rules = yaml.safe_load(role[role.index("rules:") :])["rules"]
    rbac = "rbac.authorization.k8s.io"
    definitions.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "modelyard-agent"}},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": "agent"}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "agent"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "agent"},
            "subjects": [{"kind": "ServiceAccount", "name": "modelyard-agent", "namespace": namespace}],
        },
        namespace=namespace,
    )
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(definitions.kubectl("--namespace", namespace, "create", "token", "modelyard-agent"))
    (folder / "ca.crt").write_bytes(definitions.certificate_authority.read_bytes())
    return folder


@pytest.fixture
def agent(
    definitions: ClusterAccess, namespace: str, account: Path, s3_server: S3Server, bucket: str
) -> Iterator[subprocess.Popen[bytes]]:
    server = urlsplit(definitions.server)
    environment = {
        **s3_server.environment,
        "PATH": os.environ["PATH"],
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "MODELYARD_NAMESPACE": namespace,
        "MODELYARD_STORE_URI": f"s3://{bucket}/",
        "MODELYARD_PORT": str(free_port()),
        "MODELYARD_INPUT_SECONDS": "1",
    }
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", START, str(account)], env=environment)
    yield process
    process.kill()
    process.wait(timeout=20)


def test_agent_observes_with_the_rights_of_the_chart_and_ends_on_sigterm(
    agent: subprocess.Popen[bytes], definitions: ClusterAccess, namespace: str, s3_server: S3Server, bucket: str
) -> None:
    (s3_server.root / bucket / "flights.csv").write_bytes(b"1\n")
    run = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": "run"},
        "spec": {
            "model": "flight-delay",
            "inputs": [{"name": "flights", "uri": f"s3://{bucket}/flights.csv"}],
            "steps": [{"name": "train", "image": "i"}],
        },
    }
    definitions.apply(run, namespace=namespace)
    ask = ["get", "observation", "trainingrun-run", "--ignore-not-found", "--output=jsonpath={.spec.inputs[0].digest}"]
    wait_until(
        lambda: definitions.kubectl("--namespace", namespace, *ask) == digest_of(b"1\n"),
        seconds=20,
        what="the agent to observe the run",
    )
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=10) == 0
