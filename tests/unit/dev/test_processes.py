import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.errors import ClusterError
from dev.cluster.processes import MARKER, Process, Processes, identify, stop

_SLEEP = ["/bin/sleep", "60"]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    for process in started.marked():
        stop(process, grace_seconds=5)


def _running(processes: Processes, name: str) -> Process:
    process = processes.running(name)
    assert process
    return process


def test_process_that_runs_already_is_left_alone(processes: Processes) -> None:
    processes.ensure("a", _SLEEP)
    first = _running(processes, "a")
    processes.ensure("a", _SLEEP)
    assert _running(processes, "a") == first


def test_changed_command_or_configuration_restarts(processes: Processes, tmp_path: Path) -> None:
    configuration = tmp_path / "configuration"
    seen = []
    for command, text in ((_SLEEP, "1"), (_SLEEP, "2"), (["/bin/sleep", "61"], "2")):
        configuration.write_text(text)
        processes.ensure("a", command, configuration=[configuration])
        seen.append(_running(processes, "a"))
    assert [process.alive() for process in seen] == [False, False, True]


def test_reused_pid_is_neither_running_nor_ended(processes: Processes, tmp_path: Path) -> None:
    processes.ensure("a", _SLEEP)
    innocent = _running(processes, "a")
    record = {"pid": innocent.pid, "started": "another start", "fingerprint": ""}
    (tmp_path / "b.json").write_text(json.dumps(record))
    assert processes.running("b") is None
    processes.stop("b")
    stop(Process(innocent.pid, "another start"), grace_seconds=5)
    assert innocent.alive()


def test_unrecorded_process_of_a_crashed_start_is_replaced(processes: Processes, tmp_path: Path) -> None:
    processes.ensure("a", _SLEEP)
    lost = _running(processes, "a")
    (tmp_path / "a.json").unlink()
    processes.ensure("a", _SLEEP)
    assert not lost.alive()
    assert list(processes.marked()) == [_running(processes, "a")]


def test_children_carry_the_mark(processes: Processes) -> None:
    processes.ensure("a", [sys.executable, "-c", f"import subprocess; subprocess.run({_SLEEP})"])
    parent = _running(processes, "a")
    while len(marked := list(processes.marked())) < 2:
        assert parent.alive()
    stop(parent, grace_seconds=5)
    assert [process for process in marked if process.alive()] == [p for p in marked if p != parent]


def test_process_that_ignores_sigterm_is_killed(processes: Processes) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    processes.ensure("a", [sys.executable, "-c", script])
    stubborn = _running(processes, "a")
    while not processes.log("a").read_text():
        assert stubborn.alive()
    processes.stop("a", grace_seconds=0.05)
    assert not stubborn.alive()


def test_require_shows_the_end_of_the_log(processes: Processes) -> None:
    processes.ensure("a", ["/bin/sh", "-c", "echo cannot go on; exec sleep 0.01"])
    process = _running(processes, "a")
    while process.alive():
        os.sched_yield()
    with pytest.raises(ClusterError, match=r"(?s)a ended.*cannot go on"):
        processes.require("a")


def test_zombie_does_not_run() -> None:
    with subprocess.Popen(["/bin/true"], env={MARKER: "none"}) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identify(child.pid) is None
