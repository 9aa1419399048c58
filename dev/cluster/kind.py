"""The same cluster from kind, where Docker runs."""

import subprocess
from pathlib import Path

from dev.cluster import kubeconfig
from dev.cluster.errors import ClusterError
from dev.cluster.paths import REPOSITORY, Report, kubeconfig_path, write_if_changed

_CLUSTER = "modelyard-local"
_NODE = f"{_CLUSTER}-control-plane"


class Kind:
    """A kind cluster of one node."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def up(self) -> None:
        """Create the cluster unless it exists, and write its kubeconfig."""
        if not self._exists():
            kind = ["create", "cluster", "--name", _CLUSTER, "--config", "kind-config.yaml", "--wait", "120s"]
            self._report("creating a kind cluster (the first time it pulls the node's image)")
            # kind writes its kubeconfig where it is told; ours is written below.
            _run("kind", *kind, "--kubeconfig", str(kubeconfig_path()) + ".kind")
        text = _run("kind", "get", "kubeconfig", "--name", _CLUSTER)
        write_if_changed(kubeconfig_path(), text.replace(f"kind-{_CLUSTER}", kubeconfig.CONTEXT))
        self._report(f"cluster is ready; kubeconfig: {kubeconfig_path()}")

    def down(self) -> None:
        """Delete the cluster."""
        kubeconfig_file = str(kubeconfig_path()) + ".kind"
        _run("kind", "delete", "cluster", "--name", _CLUSTER, "--kubeconfig", kubeconfig_file)
        kubeconfig_path().unlink(missing_ok=True)
        Path(kubeconfig_file).unlink(missing_ok=True)

    def status(self) -> bool:
        """Report whether the cluster exists."""
        exists = self._exists()
        self._report(f"kind cluster {_CLUSTER} {'exists' if exists else 'does not exist'}")
        return exists

    def load(self, archive: Path) -> None:
        """Import an image archive."""
        _run("kind", "load", "image-archive", str(archive), "--name", _CLUSTER)

    def tag(self, name: str, alias: str) -> None:
        """Let an image have another name; what had that name before loses it."""
        _ctr("images", "tag", "--force", name, alias)

    def images(self) -> set[str]:
        """Return the names of the images that pods can use."""
        return set(_ctr("images", "list", "--quiet").split())

    def pretend_gpus(self, count: int) -> None:
        """Tell the scheduler that the node has GPUs."""
        patch = (
            f'{{"status":{{"capacity":{{"nvidia.com/gpu":"{count}"}},"allocatable":{{"nvidia.com/gpu":"{count}"}}}}}}'
        )
        access = f"--kubeconfig={kubeconfig_path()}"
        _run("kubectl", access, "patch", "node", _NODE, "--subresource=status", "--type=merge", f"--patch={patch}")

    def _exists(self) -> bool:
        return _CLUSTER in _run("kind", "get", "clusters").split()


def _ctr(*arguments: str) -> str:
    return _run("docker", "exec", _NODE, "ctr", "--namespace=k8s.io", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed")
    return done.stdout
