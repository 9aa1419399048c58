"""Charts, rendered by helm."""

import copy
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import tools
from dev.generate import REPOSITORY
from tests.support.controlplane import ClusterAccess

Object = dict[str, Any]

TENANT = {"tenant": "air", "environment": "development", "store": {"uri": "s3://models/air-development/"}}


class HelmError(Exception):
    """helm refused; the message is its own."""


class Helm:
    """Runs helm on a chart of this repository.

    Args:
        binary: helm.
        kubeconfig: of the cluster, for commands that need one.
    """

    def __init__(self, binary: Path, kubeconfig: Path | None = None) -> None:
        self._binary = binary
        self._kubeconfig = kubeconfig
        self._rendered: dict[str, list[Object]] = {}

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        command = [str(self._binary), *arguments]
        if values is not None:
            command += ["--values", "-"]
        if self._kubeconfig:
            command += ["--kubeconfig", str(self._kubeconfig)]
        text = json.dumps(values) if values is not None else None
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def template(
        self,
        chart: str,
        values: Mapping[str, Any] | None = None,
        *,
        namespace: str = "modelyard-system",
        release: str = "modelyard",
        options: Sequence[str] = (),
    ) -> list[Object]:
        """Return the objects of a chart."""
        key = json.dumps([chart, values, namespace, release, options])
        if key not in self._rendered:
            path = str(REPOSITORY / "charts" / chart)
            text = self.run("template", release, path, f"--namespace={namespace}", *options, values=values or {})
            self._rendered[key] = [o for o in yaml.load_all(text, Loader=yaml.CSafeLoader) if o]
        return copy.deepcopy(self._rendered[key])


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Return helm without a cluster."""
    return Helm(tools.ensure(["helm"], print)["helm"])


@pytest.fixture(scope="session")
def cluster_helm(control_plane: ClusterAccess) -> Helm:
    """Return helm with a real API server."""
    return Helm(tools.ensure(["helm"], print)["helm"], control_plane.kubeconfig)


def find(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Return the one object of this kind and name."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of {[(o['kind'], o['metadata']['name']) for o in objects]}"
    return found[0]
