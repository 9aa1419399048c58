"""A real API server for tests: etcd and kube-apiserver on loopback, started once per test run.

There is no controller-manager, scheduler or kubelet. So Jobs make no pods, ownerReferences are not garbage
collected, a deleted namespace stays Terminating, and a namespace has no `default` ServiceAccount (the
`namespace` fixture makes one, without which pods are refused). What a controller would do, a test does.
"""

import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes import client, config

from dev.cluster import controlplane, tools
from dev.cluster.controlplane import ControlPlane
from dev.cluster.paths import locked, write_if_changed
from dev.cluster.processes import Process, Processes, identify, stop

RUN_FOLDER = "MODELYARD_TEST_RUN"  # environment variable: shared by pytest-xdist's workers
_ADDRESS = "127.0.0.1"
_PORTS = range(20000, 32000)  # below the kernel's ephemeral ports, which an outgoing connection may take


@dataclass(frozen=True)
class ClusterAccess:
    """What a test needs to talk to a cluster as its administrator."""

    kubeconfig: Path
    server: str
    certificate_authority: Path
    client_certificate: Path
    client_key: Path
    audit_log: Path

    def client(self) -> client.ApiClient:
        """Return a new client; `with` closes its connections."""
        connection = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), client_configuration=connection)
        return client.ApiClient(connection)

    def kubectl(self, *arguments: str, document: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints.

        Args:
            *arguments: of kubectl.
            document: its standard input.
            check: whether a failure raises AssertionError with kubectl's message.
        """
        command = [str(tools.path_of("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=document, capture_output=True, text=True, check=False, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + ("" if check else done.stderr)

    def apply(self, *what: Path | Mapping[str, object], namespace: str = "default") -> None:
        """Apply files, folders or objects server-side, as a person would."""
        for item in what:
            text = None if isinstance(item, Path) else yaml.safe_dump(dict(item))
            name = str(item) if isinstance(item, Path) else "-"
            self.kubectl("apply", "--server-side", "--namespace", namespace, "--filename", name, document=text)

    def create_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Create a namespace with the ServiceAccount that the controller-manager would make."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}})
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, namespace=name)


def new_run_folder() -> Path:
    """Name the folder of this test run; end what runs that were killed have left."""
    root = Path(tempfile.gettempdir()) / f"modelyard-tests-{os.getuid()}"
    for folder in root.glob("*"):
        owner = identify(int(folder.name))
        recorded = folder / "owner"
        if owner is None or (recorded.exists() and recorded.read_text() != str(owner)):
            end_run(folder)
    return root / str(os.getpid())


def start_shared(folder: Path, owner: int) -> ClusterAccess:
    """Start this run's control plane, or return the one that another worker has started.

    Args:
        folder: of the test run.
        owner: pid of the pytest process that ends it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder / "lock", print, "another worker"):
        write_if_changed(folder / "owner", str(identify(owner)))
        port = folder / "port"
        write_if_changed(port, port.read_text() if port.exists() else str(free_port()))
        plane = ControlPlane(folder, _ADDRESS, int(port.read_text()), "10.96.0.0/16", nodes=False)
        binaries = tools.ensure(tools.CONTROL_PLANE, print)
        controlplane.start(plane, Processes(folder / "processes"), binaries)
    api = plane.api()
    return ClusterAccess(
        plane.kubeconfig, api.server, api.authority, api.client.certificate, api.client.key, plane.audit_log
    )


def end_run(folder: Path) -> None:
    """End a run's control plane and delete its files."""
    processes = Processes(folder / "processes")
    controlplane.stop(processes)
    leftovers: list[Process] = list(processes.marked()) if folder.exists() else []
    for process in leftovers:
        stop(process, grace_seconds=1)
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind((_ADDRESS, port))
            except OSError:
                continue
            return port
