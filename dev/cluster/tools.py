"""The binaries that the cluster runs: pinned Go modules, built once into the cache."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.errors import ClusterError
from dev.cluster.paths import REPOSITORY, Report, cache_dir, locked

_PROGRESS_SECONDS = 20.0


@dataclass(frozen=True)
class Tool:
    """A Go module under dev/go/<name>; go.mod there has the version."""

    name: str
    module: str
    tags: str = ""


@dataclass(frozen=True)
class Binary:
    """One command of a tool, and how long it takes to build on two cores with nothing cached."""

    tool: Tool
    package: str
    seconds: int

    @property
    def name(self) -> str:
        """The file's name."""
        return self.package.rsplit("/", 1)[-1]


_KUBERNETES = Tool("kubernetes", "k8s.io/kubernetes")
_ETCD = Tool("etcd", "go.etcd.io/etcd/server/v3")
_CONTAINERD = Tool("containerd", "github.com/containerd/containerd/v2", tags="no_btrfs no_devmapper no_zfs no_aufs")
_CNI = Tool("cni", "github.com/containernetworking/plugins")
_COREDNS = Tool("coredns", "github.com/coredns/coredns")
_HELM = Tool("helm", "helm.sh/helm/v4")
_VERSITYGW = Tool("versitygw", "github.com/versity/versitygw")

_CONTAINERD_COMMANDS = "github.com/containerd/containerd/v2/cmd"
_CNI_PLUGINS = "github.com/containernetworking/plugins/plugins"

_ALL = (
    Binary(_ETCD, "go.etcd.io/etcd/server/v3", 40),
    Binary(_KUBERNETES, "k8s.io/kubernetes/cmd/kube-apiserver", 524),
    Binary(_KUBERNETES, "k8s.io/kubernetes/cmd/kubectl", 35),
    Binary(_KUBERNETES, "k8s.io/kubernetes/cmd/kube-controller-manager", 163),
    Binary(_KUBERNETES, "k8s.io/kubernetes/cmd/kube-scheduler", 16),
    Binary(_KUBERNETES, "k8s.io/kubernetes/cmd/kubelet", 38),
    Binary(_KUBERNETES, "k8s.io/kubernetes/cmd/kube-proxy", 17),
    Binary(_CONTAINERD, f"{_CONTAINERD_COMMANDS}/containerd", 138),
    Binary(_CONTAINERD, f"{_CONTAINERD_COMMANDS}/containerd-shim-runc-v2", 3),
    Binary(_CONTAINERD, f"{_CONTAINERD_COMMANDS}/ctr", 12),
    Binary(_CNI, f"{_CNI_PLUGINS}/ipam/host-local", 25),
    Binary(_CNI, f"{_CNI_PLUGINS}/main/bridge", 8),
    Binary(_CNI, f"{_CNI_PLUGINS}/main/loopback", 8),
    Binary(_CNI, f"{_CNI_PLUGINS}/meta/portmap", 8),
    Binary(_COREDNS, "github.com/coredns/coredns", 162),
    Binary(_HELM, "helm.sh/helm/v4/cmd/helm", 166),
    Binary(_VERSITYGW, "github.com/versity/versitygw/cmd/versitygw", 88),
)


def _names() -> dict[str, Binary]:
    names = {binary.name: binary for binary in _ALL}
    names["etcd"] = names.pop("v3")
    return names


BINARIES = _names()
CONTROL_PLANE = ("etcd", "kube-apiserver", "kubectl")
NODE = tuple(name for name in BINARIES if name not in {"helm", "versitygw"})


def version(tool: Tool) -> str:
    """Return the version that the tool's go.mod pins.

    Raises:
        ClusterError: go.mod does not require the module.
    """
    go_mod = REPOSITORY / "dev" / "go" / tool.name / "go.mod"
    found = re.search(rf"^(?:require)?\s*{re.escape(tool.module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    if not found:
        raise ClusterError(f"{go_mod} does not require {tool.module}")
    return found.group(1)


def path_of(name: str) -> Path:
    """Return where a binary is, or will be once it is built."""
    tool = BINARIES[name].tool
    return cache_dir() / "bin" / f"{tool.name}-{version(tool)}" / name


def build_command(binary: Binary, tool_version: str, output: Path) -> list[str]:
    """Return the `go build` command of a binary."""
    flags = "-s -w"
    if binary.tool is _KUBERNETES:
        # Without these the API server calls itself v0.0.0.
        major, minor = tool_version.removeprefix("v").split(".")[:2]
        variables = {"gitVersion": tool_version, "gitMajor": major, "gitMinor": minor}
        flags += "".join(f" -X k8s.io/component-base/version.{k}={v}" for k, v in variables.items())
    tags = ["-tags", binary.tool.tags] if binary.tool.tags else []
    return [
        *("go", "build", "-mod=readonly", "-trimpath", *tags, "-ldflags", flags),
        *("-o", str(output), binary.package),
    ]


def ensure(names: Iterable[str], report: Report) -> dict[str, Path]:
    """Build what is missing and return the path of each binary.

    Raises:
        ClusterError: there is no Go, or a build failed.
    """
    paths = {name: path_of(name) for name in names}
    if all(path.exists() for path in paths.values()):
        return paths
    with locked(cache_dir() / "bin" / ".lock", report, "another build of the binaries"):
        missing = [name for name, path in paths.items() if not path.exists()]
        if missing and not shutil.which("go"):
            raise ClusterError(
                f"Go is not installed; it is needed once, to build {', '.join(missing)}. "
                "Install Go 1.26 or newer (https://go.dev/dl/) and put its bin folder on PATH."
            )
        for number, name in enumerate(missing, 1):
            _build(BINARIES[name], paths[name], f"{number} of {len(missing)}", report)
    return paths


def _build(binary: Binary, path: Path, position: str, report: Report) -> None:
    tool_version = version(binary.tool)
    report(f"building {path.name} {tool_version} ({position}; up to {binary.seconds} s on two cores, then cached)")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    log = path.with_name(path.name + ".log")
    start = time.monotonic()
    with log.open("w") as output:
        build = subprocess.Popen(
            build_command(binary, tool_version, partial),
            cwd=REPOSITORY / "dev" / "go" / binary.tool.name,
            env={**os.environ, "CGO_ENABLED": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(build, path.name, start, report)
        except BaseException:
            build.kill()
            build.wait()
            raise
    if build.returncode != 0:
        raise ClusterError(f"building {path.name} failed:\n{log.read_text()[-4000:]}")
    log.unlink()
    partial.replace(path)
    report(f"built {path.name} in {time.monotonic() - start:.0f} s")


def _wait(build: subprocess.Popen[bytes], name: str, start: float, report: Report) -> None:
    while True:
        try:
            build.wait(timeout=_PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            report(f"  still building {name}: {time.monotonic() - start:.0f} s")
        else:
            return
