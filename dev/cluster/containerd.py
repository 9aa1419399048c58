"""The container runtime of the bare-machine node: its life, its images."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from dev.cluster import config, machine, tools
from dev.cluster.api import wait_until
from dev.cluster.errors import ClusterError
from dev.cluster.paths import write_if_changed
from dev.cluster.processes import Processes
from dev.cluster.settings import RUN_FOLDER

_ANSWER_SECONDS = 30
_BUNDLES = RUN_FOLDER / "containerd" / "io.containerd.runtime.v2.task" / "k8s.io"


def start(folders: config.Folders, processes: Processes, binaries: dict[str, Path], *, fresh: bool) -> None:
    """Start containerd and wait until it answers.

    Args:
        folders: of the node.
        processes: of the node.
        binaries: containerd and the CNI plugins.
        fresh: whether the cluster is new: then containers of an earlier one are deleted, and only its images kept.
    """
    file = folders.config / "containerd.toml"
    write_if_changed(file, config.containerd(folders, binaries["bridge"].parent))
    _run(processes, binaries["containerd"], file)
    if fresh and _forget_containers():
        # It must not go on with what it has read of the cluster before.
        processes.stop("containerd")
        _run(processes, binaries["containerd"], file)


def kill_containers() -> None:
    """End the processes of all containers, whether or not containerd still runs."""
    containers = [bundle.name for bundle in _BUNDLES.iterdir()] if _BUNDLES.exists() else []
    for pid in machine.pids_in_cgroups(containers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def ctr(*arguments: str) -> str:
    """Run containerd's command line where Kubernetes has its images and containers.

    Raises:
        ClusterError: it failed.
    """
    command = [str(tools.path_of("ctr")), f"--address={config.CONTAINERD_SOCKET}", "--namespace=k8s.io", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _run(processes: Processes, binary: Path, file: Path) -> None:
    processes.ensure("containerd", [str(binary), f"--config={file}"], configuration=[file])

    def answers() -> bool:
        processes.require("containerd")
        try:
            ctr("version")
        except ClusterError:
            return False
        return True

    wait_until(answers, "containerd", seconds=_ANSWER_SECONDS)


def _forget_containers() -> bool:
    containers = ctr("containers", "list", "--quiet").split()
    sandboxes = [row.split()[0] for row in ctr("sandboxes", "list").splitlines()[1:]]
    if containers:
        ctr("containers", "rm", *containers)
    if sandboxes:
        ctr("sandboxes", "rm", "--force", *sandboxes)
    return bool(containers or sandboxes)
