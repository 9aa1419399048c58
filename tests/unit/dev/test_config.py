import json
import tomllib
from pathlib import Path

import pytest

from dev.cluster import config
from dev.cluster.config import Folders
from dev.cluster.settings import RUN_FOLDER, Settings

_SETTINGS = Settings("10.244.0.0/16", "10.245.0.0/16")
_FOLDERS = Folders(Path("/state"))


def test_containerd_configuration_keeps_to_our_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    parsed = tomllib.loads(config.containerd(_FOLDERS, Path("/cni")))
    assert parsed["root"] == "/cache/modelyard/containerd"
    assert parsed["grpc"]["address"] == str(config.CONTAINERD_SOCKET)
    runtime = parsed["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["cni"] == {"bin_dirs": ["/cni"], "conf_dir": "/state/config/cni"}
    assert runtime["restrict_oom_score_adj"]
    assert runtime["netns_mounts_under_state_dir"]


def test_kubelet_never_collects_images_that_no_registry_has() -> None:
    kubelet = json.loads(config.kubelet(_SETTINGS, _FOLDERS, Path("/pki")))
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert kubelet["evictionHard"]["imagefs.available"] == "0%"
    assert kubelet["clusterDNS"] == [_SETTINGS.address]
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}


def test_pod_network_takes_addresses_from_the_pod_range() -> None:
    bridge, _ = json.loads(config.cni(_SETTINGS, _FOLDERS))["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/16"}]]


@pytest.mark.parametrize(
    ("resolvers", "forwards"),
    [("nameserver 10.0.0.53\n", True), ("", False), ("# nameserver 1.1.1.1\nsearch example\n", False)],
)
def test_corefile_forwards_only_where_there_is_a_resolver(resolvers: str, *, forwards: bool) -> None:
    text = config.corefile(_SETTINGS, Path("/kubeconfig"), resolvers)
    assert ("forward . /etc/resolv.conf" in text) == forwards
    assert text.count("{") == text.count("}")


def test_sockets_fit_the_kernel() -> None:
    longest = RUN_FOLDER / "shims" / ("0" * 64)
    assert len(str(longest)) < 108
