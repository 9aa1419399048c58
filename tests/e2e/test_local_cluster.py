"""The bare-machine node heals: `up` repairs whatever was killed, and touches nothing that is well."""

import os
import signal
from collections.abc import Iterator

import pytest

from dev.cluster import selection
from dev.cluster.node import Node
from dev.cluster.paths import state_dir
from dev.cluster.processes import Process, Processes
from tests.support.waiting import wait_until

_PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "coredns",
)


@pytest.fixture
def node() -> Iterator[Node]:
    if selection.selected() != "node":
        pytest.skip("this machine's cluster is kind's")
    node = Node(state_dir(), print)
    node.up()
    yield node
    node.up()


def _running() -> dict[str, Process | None]:
    processes = Processes(state_dir() / "processes")
    return {part: processes.running(part) for part in _PARTS}


def test_up_leaves_a_cluster_that_is_well_alone(node: Node) -> None:
    before = _running()
    node.up()
    assert _running() == before


@pytest.mark.parametrize("killed", [("kubelet",), ("containerd",), ("kube-apiserver", "etcd"), _PARTS])
def test_up_restarts_what_was_killed_and_nothing_else(node: Node, killed: tuple[str, ...]) -> None:
    before = _running()
    for part in killed:
        process = before[part]
        assert process
        os.kill(process.pid, signal.SIGKILL)
    # A large process takes a moment to die, and until then it is one that runs.
    wait_until(lambda: not any(_running()[part] for part in killed), seconds=30, what="the killed to be gone")
    node.up()
    assert node.status()
    after = _running()
    assert {part for part in _PARTS if after[part] != before[part]} == set(killed)
