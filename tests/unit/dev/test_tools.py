import re
import shutil
from pathlib import Path

import pytest

from dev.cluster import tools
from dev.cluster.errors import ClusterError
from dev.cluster.tools import BINARIES


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "modelyard"


def test_every_binary_has_a_pinned_version() -> None:
    for binary in BINARIES.values():
        assert re.fullmatch(r"v\d+\.\d+\.\d+", tools.version(binary.tool))


def test_path_follows_the_cache_and_the_version(cache: Path) -> None:
    assert (
        tools.path_of("kubectl") == cache / "bin" / f"kubernetes-{tools.version(BINARIES['kubectl'].tool)}" / "kubectl"
    )


def test_build_command_tells_kubernetes_its_version() -> None:
    command = tools.build_command(BINARIES["kube-apiserver"], "v1.37.2", Path("/out"))
    flags = command[command.index("-ldflags") + 1].split()
    assert {f"k8s.io/component-base/version.git{what}" for what in ("Version=v1.37.2", "Major=1", "Minor=37")} <= set(
        flags
    )
    assert command[-3:] == ["-o", "/out", "k8s.io/kubernetes/cmd/kube-apiserver"]


def test_build_command_has_the_tags_of_its_tool() -> None:
    command = tools.build_command(BINARIES["ctr"], "v2.4.2", Path("/out"))
    assert command[command.index("-tags") + 1].split() == ["no_btrfs", "no_devmapper", "no_zfs", "no_aufs"]


def test_what_is_in_the_cache_is_not_built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tools.path_of("etcd")
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setenv("PATH", "")
    assert tools.ensure(["etcd"], print) == {"etcd": path}


def test_missing_go_is_named_with_what_needs_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClusterError, match=r"Go is not installed.*etcd"):
        tools.ensure(["etcd"], print)


def test_failed_build_shows_why_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no space left\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(shutil.which('sh') or '').parent}")
    with pytest.raises(ClusterError, match="no space left"):
        tools.ensure(["etcd"], print)
    assert not tools.path_of("etcd").exists()
