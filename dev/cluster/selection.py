"""Whether this machine's cluster and images come from Docker or from the bare machine."""

import os
import shutil
import subprocess
from typing import Literal

from dev.cluster.errors import ClusterError

_VARIABLE = "MODELYARD_CLUSTER"


def selected() -> Literal["kind", "node"]:
    """Return which kind of cluster to use.

    Raises:
        ClusterError: $MODELYARD_CLUSTER asks for something else.
    """
    match os.environ.get(_VARIABLE):
        case None:
            return "kind" if shutil.which("kind") and _docker_answers() else "node"
        case "kind":
            return "kind"
        case "node":
            return "node"
        case other:
            raise ClusterError(f"{_VARIABLE}={other}: must be kind or node")


def _docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0
