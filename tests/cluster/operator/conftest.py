"""The operator as a process of its own, with exactly the rights of its table, on a real API server."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.generate import REPOSITORY
from modelyard.controller import rbac
from tests.cluster.operator.api import Api
from tests.cluster.operator.nodes import Nodes
from tests.support.controlplane import ClusterAccess, free_port

_POLL_SECONDS = 0.05
_ROLE_API = "rbac.authorization.k8s.io/v1"


class Operator:
    """One operator process."""

    def __init__(self, namespace: str, kubeconfig: Path, log: Path) -> None:
        settings = {
            "NAMESPACE": namespace,
            "WATCH_NAMESPACES": namespace,
            "TRAINER_IMAGE": "trainer:1",
            "SERVER_IMAGE": "server:1",
            "KUBECONFIG": str(kubeconfig),
            "IDENTITY": "operator-0",
            "BIND_ADDRESS": "127.0.0.1",
            "PORT": str(free_port()),
            "LOG_LEVEL": "DEBUG",
        }
        self.log = log
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.controller"],
                env={**os.environ, **{f"MODELYARD_{key}": value for key, value in settings.items()}},
                stderr=stderr,
            )

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def records(self) -> list[dict[str, object]]:
        """What it has logged."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def passes(self) -> Counter[tuple[object, object]]:
        """Number of passes by kind and name."""
        return Counter((r["kind"], r["name"]) for r in self.records() if r["message"] == "pass ended")

    def faults(self) -> list[str]:
        """What went wrong inside: passes that crashed."""
        return [
            line for line in self.log.read_text().splitlines() if "pass crashed" in line or "operator fails" in line
        ]


@dataclass
class Stage:
    """A namespace with an operator, and everything else played."""

    plane: ClusterAccess
    api: Api
    nodes: Nodes
    user: str
    kubeconfig: Path
    log: Path
    operators: list[Operator] = field(default_factory=list)

    def start(self, kubeconfig: Path | None = None) -> Operator:
        """Start the operator, by default with its own rights."""
        operator = Operator(self.api.namespace, kubeconfig or self.kubeconfig, self.log)
        self.operators.append(operator)
        return operator

    def stop(self) -> None:
        """End all operators."""
        for operator in self.operators:
            operator.kill()

    def apply(self, kind: str, name: str, **spec: object) -> None:
        """Apply one of our objects, as a person would."""
        manifest = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.plane.apply(manifest, namespace=self.api.namespace)

    def until(self, condition: Callable[[], object], what: str, *, seconds: float = 40) -> None:
        """Let everything act until the condition holds; fail the test when it does not within the time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}\n{self.describe()}"
            self.nodes.step()
            time.sleep(_POLL_SECONDS)

    def ready(self, kind: str, name: str) -> str:
        """The reason of the condition Ready, with `!` before it when it is not True."""
        conditions = self.api.get(kind, name).get("status", {}).get("conditions", [])
        found = next((c for c in conditions if c["type"] == "Ready"), None)
        return "" if found is None else found["reason"] if found["status"] == "True" else f"!{found['reason']}"

    def records(self) -> list[dict[str, Any]]:
        """The audit log of the namespace: who did what, with what outcome."""
        lines = self.plane.audit_log.read_text().splitlines()
        return [json.loads(line) for line in lines if f'"namespace":"{self.api.namespace}"' in line]

    def writes(self) -> list[tuple[str, str]]:
        """Verb and path of each write that the operator has made with its own rights, its Lease aside."""
        return [
            (record["verb"], record["requestURI"].partition("?")[0])
            for record in self.records()
            if record["user"].get("username") == self.user
            and record["verb"] in {"create", "update", "patch", "delete"}
            and record["objectRef"]["resource"] != "leases"
        ]

    @contextmanager
    def newer_definition(self, plural: str) -> Iterator[None]:
        """Serve a definition of a kind with `spec.fromTheFuture`, as a newer operator's chart would."""
        path = REPOSITORY / "crds" / f"{plural}.modelyard.dev.yaml"
        newer = yaml.safe_load(path.read_text())
        (version,) = newer["spec"]["versions"]
        properties = version["schema"]["openAPIV3Schema"]["properties"]
        properties["spec"]["properties"]["fromTheFuture"] = {"type": "string", "maxLength": 63}
        self._define(yaml.safe_dump(newer))
        try:
            yield
        finally:
            self._define(path.read_text())

    def _define(self, definition: str) -> None:
        """Apply a definition, whoever of the tests that share the API server has applied one before."""
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", document=definition)

    def assert_converged(self, operator: Operator) -> None:
        """Make the operator look at everything again, and fail the test if it writes something."""
        self.until(lambda: not self._written_in_a_round(operator), "a round of passes without a write")
        assert self._written_in_a_round(operator) == []

    def _written_in_a_round(self, operator: Operator) -> list[tuple[str, str]]:
        before, writes = operator.passes(), self.writes()
        kinds = ("Pipeline", "TrainingRun", "ModelVersion", "Deployment")
        keys = [(kind, name) for kind in kinds for name in self.api.names(kind)]
        for kind, name in keys:
            self.api.patch(kind, name, {"metadata": {"annotations": {"looked-at": str(time.monotonic())}}})
        deadline = time.monotonic() + 20
        while not all(operator.passes()[key] > before[key] for key in keys):
            assert time.monotonic() < deadline, "the operator does not look"
            time.sleep(_POLL_SECONDS)
        return self.writes()[len(writes) :]

    def describe(self) -> str:
        """What a person needs to see when a test fails."""
        objects = [item for kind in ("Pipeline", "TrainingRun", "Deployment") for item in self.api.all(kind)]
        status = yaml.safe_dump([{o["metadata"]["name"]: o.get("status")} for o in objects])
        log = self.log.read_text().splitlines()[-30:] if self.log.exists() else []
        return "\n".join([status, *(line[:400] for line in log)])


@pytest.fixture(scope="session")
def served(control_plane: ClusterAccess) -> ClusterAccess:
    """The control plane with our kinds and the operator's role."""
    control_plane.apply(REPOSITORY / "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={REPOSITORY / 'crds'}")
    for name, rights in (("operator", rbac.OPERATOR), ("leader", rbac.LEADER)):
        role = {
            "apiVersion": _ROLE_API,
            "kind": "ClusterRole",
            "metadata": {"name": f"test-{name}"},
            "rules": rbac.rules(rights),
        }
        control_plane.apply(role)
    return control_plane


@pytest.fixture
def stage(served: ClusterAccess, tmp_path: Path) -> Iterator[Stage]:
    """A fresh namespace in which an operator may be started; pods must be `restricted` in it."""
    namespace = f"test-{uuid.uuid4().hex[:10]}"
    served.create_namespace(namespace, {"pod-security.kubernetes.io/enforce": "restricted"})
    for account in ("operator", "modelyard-step", "modelyard-server"):
        manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
        served.apply(manifest, namespace=namespace)
    for role in ("operator", "leader"):
        served.apply(_binding(namespace, f"test-{role}"), namespace=namespace)
    api = Api(served, namespace)
    user = f"system:serviceaccount:{namespace}:operator"
    stage = Stage(served, api, Nodes(api), user, _kubeconfig(served, namespace, tmp_path), tmp_path / "operator.log")
    yield stage
    stage.stop()
    assert [fault for operator in stage.operators for fault in operator.faults()] == []
    api.close()


def _binding(namespace: str, role: str) -> dict[str, object]:
    return {
        "apiVersion": _ROLE_API,
        "kind": "RoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    }


def _kubeconfig(plane: ClusterAccess, namespace: str, folder: Path) -> Path:
    token = plane.kubectl("create", "token", "operator", "--namespace", namespace, "--duration=3h").strip()
    cluster = {"server": plane.server, "certificate-authority": str(plane.certificate_authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator"}}],
        "current-context": "test",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path
