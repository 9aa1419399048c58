"""Checkpoints of a step against a real S3 server: user's program, courier and fetch, killed as nodes kill them."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.steps.checkpoint_courier import CheckpointSettings
from modelyard.storage.errors import InvalidSource
from tests.support.s3 import S3Server
from tests.support.waiting import wait_until

SECONDS = 60
PROGRAM = """
import sys, time
from modelyard import sdk
last = sdk.last_checkpoint()
state = [int((last / "count").read_text()) if last else 0]
print("starts at", state[0], flush=True)
def save():
    with sdk.save_checkpoint() as folder:
        (folder / "count").write_text(str(state[0]))
if "listen" in sys.argv:
    sdk.on_preemption(save)
while True:
    state[0] += 1
    if state[0] % 10 == 0 and "save" in sys.argv:
        save()
    print(state[0], flush=True)
    time.sleep(0.02)
"""


class Pod:
    """The containers of one pod after the other of one step."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.root = folder
        self.bucket = f"bucket-{secrets.token_hex(6)}"
        self.store = server.bucket(self.bucket) / "air/runs/run-1/train/checkpoints"
        self.variables = server.environment | {
            "MODELYARD_STORE_URI": f"s3://{self.bucket}/air/",
            "MODELYARD_RUN_UID": "run-1",
            "MODELYARD_STEP": "train",
            "MODELYARD_STORE_DEADLINE_SECONDS": "30",
            "MODELYARD_CHECKPOINT_INTERVAL_SECONDS": "0.2",
            "MODELYARD_CHECKPOINT_GRACE_SECONDS": "10",
        }
        self.processes: list[subprocess.Popen[str]] = []
        self.next()

    def next(self, **variables: str) -> None:
        """Make the volumes of the next pod, empty, and run its fetch."""
        uid = f"pod-{secrets.token_hex(4)}"
        self.home = self.root / uid
        self.work = self.home / "work"
        for path in ("inputs", "work/outputs"):
            (self.home / path).mkdir(parents=True)
        self.log = self.home / "termination-log"
        self.variables |= {
            "MODELYARD_POD_UID": uid,
            "MODELYARD_INPUTS_DIR": str(self.home / "inputs"),
            "MODELYARD_OUTPUTS_DIR": str(self.work / "outputs"),
            "MODELYARD_CHECKPOINT_DIR": str(self.checkpoint),
            "MODELYARD_ENDED_FILE": str(self.home / "ended"),
            "MODELYARD_TERMINATION_LOG": str(self.log),
        }
        self.log.touch()
        fetch = self._start("modelyard.steps.fetch", **variables)
        assert fetch.wait(SECONDS) == 0, self.log.read_text()

    @property
    def checkpoint(self) -> Path:
        return self.work / "checkpoint"

    @property
    def balance(self) -> dict[str, Any]:
        """What fetch answered."""
        answer: dict[str, Any] = json.loads(self.log.read_text())
        return answer

    def start_courier(self, **variables: str) -> subprocess.Popen[str]:
        courier = self._start("modelyard.steps.step_courier", **variables)
        listens = f"/proc/{courier.pid}/status"
        wait_until(lambda: _catches_sigterm(Path(listens)), seconds=SECONDS, what="the courier to start")
        return courier

    def start_program(self, *words: str) -> subprocess.Popen[str]:
        program = self._start("-c", PROGRAM, *words)
        assert program.stdout
        self.first_line = program.stdout.readline().strip()
        return program

    def pointers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.store.glob("[0-9]*.json"))

    def wait_for_pointer(self, number: int) -> None:
        there = f"checkpoint {number} in the store"
        wait_until(lambda: self.pointers()[-1:] >= [number], seconds=SECONDS, what=there)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def _start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, *(("-m",) if words[0] != "-c" else ()), *words]
        environment = {**os.environ, **self.variables, **variables}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process


def _catches_sigterm(status: Path) -> bool:
    caught = int(next(line for line in status.read_text().splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.fixture
def pod(s3_server: S3Server, tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(s3_server, tmp_path)
    yield pod
    pod.close()


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=SECONDS)
    return process.returncode, output


def test_pod_that_is_taken_away_goes_on_where_it_stopped(pod: Pod) -> None:
    assert pod.balance == {"resumes": 0, "lostSeconds": 0}
    for turn in (1, 2):
        courier, program = pod.start_courier(), pod.start_program("save", "listen")
        pod.wait_for_pointer(turn * 2 - 1)
        program.send_signal(signal.SIGTERM)
        code, said = end(courier)
        output, _ = program.communicate(timeout=SECONDS)
        assert (program.returncode, code) == (128 + signal.SIGTERM, 0), said
        last = int(output.split()[-1])
        pod.next()
        assert pod.balance["resumes"] == turn
        assert pod.balance["lostSeconds"] == 0
        assert abs(int((pod.checkpoint / "count").read_text()) - last) <= 1
    pod.start_program()
    assert pod.first_line == f"starts at {(pod.checkpoint / 'count').read_text()}"


def test_pod_that_is_killed_goes_on_from_its_last_checkpoint(pod: Pod) -> None:
    courier, program = pod.start_courier(), pod.start_program("save")
    pod.wait_for_pointer(2)
    for process in (program, courier):
        end(process, signal.SIGKILL)
    pod.next()
    assert pod.balance["resumes"] == 1
    count = int((pod.checkpoint / "count").read_text())
    assert count > 0
    assert count % 10 == 0


def test_courier_that_is_killed_in_an_upload_leaves_whole_checkpoints_only(pod: Pod) -> None:
    pod.start_program("save")
    for seconds in (1.1, 1.2, 1.3, 1.5):
        courier = pod.start_courier(MODELYARD_CHECKPOINT_INTERVAL_SECONDS="0")
        with pytest.raises(subprocess.TimeoutExpired):
            courier.wait(seconds)
        end(courier, signal.SIGKILL)
    assert pod.pointers()
    pod.next()
    assert int((pod.checkpoint / "count").read_text()) % 10 == 0


def test_program_that_crashed_is_not_waited_for(pod: Pod) -> None:
    courier, program = pod.start_courier(MODELYARD_CHECKPOINT_GRACE_SECONDS="600"), pod.start_program("save")
    pod.wait_for_pointer(1)
    end(program, signal.SIGKILL)
    assert end(courier)[0] == 0
    pod.next()
    assert pod.balance["resumes"] == 1


def test_program_that_ended_well_is_not_waited_for(pod: Pod) -> None:
    courier = pod.start_courier(MODELYARD_CHECKPOINT_GRACE_SECONDS="600")
    publish = pod._start("modelyard.steps.publish", MODELYARD_ATTEMPT="1", MODELYARD_OUTPUTS="[]")
    assert publish.wait(SECONDS) == 0
    assert end(courier)[0] == 0


def test_program_that_does_not_listen_is_waited_for_no_longer_than_it_may_take(pod: Pod) -> None:
    courier = pod.start_courier(MODELYARD_CHECKPOINT_GRACE_SECONDS="1")
    (pod.work / "checkpoint.lock").unlink(missing_ok=True)
    started = time.monotonic()
    assert end(courier)[0] == 0
    assert 0.9 < time.monotonic() - started < 20


def test_work_without_a_checkpoint_is_lost(pod: Pod) -> None:
    courier = pod.start_courier(MODELYARD_CHECKPOINT_GRACE_SECONDS="0")
    work = pod.store / "work.json"
    wait_until(work.exists, seconds=SECONDS, what="the note about the work")
    end(courier)
    note = json.loads(work.read_text())
    pod.next()
    assert pod.balance["resumes"] == 0
    assert note["end"] > note["start"]
    assert pod.balance["lostSeconds"] == round(note["end"] - note["start"])


def test_other_pods_of_a_group_get_the_checkpoint_and_count_nothing(pod: Pod) -> None:
    courier = pod.start_courier()
    pod.start_program("save")
    pod.wait_for_pointer(1)
    end(courier, signal.SIGKILL)
    pod.next(JOB_COMPLETION_INDEX="3")
    assert pod.balance == {}
    assert (pod.checkpoint / "count").is_file()
    other = pod.start_courier(JOB_COMPLETION_INDEX="3", MODELYARD_CHECKPOINT_GRACE_SECONDS="600")
    assert end(other)[0] == 0


@pytest.fixture
def pod_with_own_store(own_s3_server: S3Server, tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(own_s3_server, tmp_path)
    yield pod
    pod.close()


def test_store_that_is_away_is_waited_for(pod_with_own_store: Pod, own_s3_server: S3Server) -> None:
    pod = pod_with_own_store
    courier, program = pod.start_courier(), pod.start_program("save")
    own_s3_server.stop()
    assert courier.stdout
    assert any("trying again" in line for line in iter(courier.stdout.readline, ""))
    own_s3_server.start()
    pod.wait_for_pointer(1)
    end(program, signal.SIGKILL)
    assert end(courier)[0] == 0


def test_link_in_the_folder_brings_nothing_to_the_store(pod: Pod) -> None:
    courier = pod.start_courier(MODELYARD_CHECKPOINT_GRACE_SECONDS="0")
    (pod.checkpoint / "environ").symlink_to(f"/proc/{courier.pid}/environ")
    (pod.checkpoint / "COMPLETE").touch()
    assert courier.stdout
    assert any("this is no checkpoint" in line for line in iter(courier.stdout.readline, ""))
    assert end(courier)[0] == 0
    assert pod.pointers() == []


def test_progress_is_in_the_store_while_the_program_runs(pod: Pod) -> None:
    metrics = pod.work / "metrics.jsonl"
    courier = pod.start_courier(MODELYARD_METRICS_FILE=str(metrics), MODELYARD_ATTEMPT="2")
    metrics.write_text('{"progress": 0.42}\n{"name": "loss", "value": 0.5}\n')
    target = pod.store.parent / "2" / "progress.json"
    wait_until(target.exists, seconds=SECONDS, what="the progress in the store")
    said = json.loads(target.read_text())
    assert said.pop("time")
    assert said == {"percentage": 42, "metrics": [{"name": "loss", "value": "0.5"}]}
    (pod.home / "ended").touch()
    assert end(courier)[0] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELYARD_CHECKPOINT_DIR", ""),
        ("MODELYARD_CHECKPOINT_INTERVAL_SECONDS", "soon"),
        ("MODELYARD_CHECKPOINT_GRACE_SECONDS", "-1"),
        ("MODELYARD_STORE_URI", ""),
    ],
)
def test_variable_that_is_missing_or_wrong_is_named(pod: Pod, name: str, value: str) -> None:
    CheckpointSettings.read(pod.variables)
    with pytest.raises(InvalidSource, match=name):
        CheckpointSettings.read(pod.variables | {name: value})
