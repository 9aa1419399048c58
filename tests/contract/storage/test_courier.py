"""The program of the sidecar `courier` against a real S3 server."""

import gzip
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.serving.prediction_log import PredictionLog
from modelyard.steps.courier import Settings
from modelyard.storage.errors import InvalidSource
from modelyard.storage.predictions import segments
from tests.support.s3 import S3Server
from tests.support.waiting import wait_until

POD = "4ad0a5b6-0c7e-4a6c-9f53-0b6f0f3d9f10"
SECONDS = 60


class Pod:
    """The spool of a pod and what its courier delivers."""

    def __init__(self, server: S3Server, spool: Path) -> None:
        self.spool = spool
        spool.mkdir()
        self.bucket = f"bucket-{secrets.token_hex(6)}"
        self.root = server.bucket(self.bucket)
        self.variables = server.environment | {
            "MODELYARD_STORE_URI": f"s3://{self.bucket}/air/",
            "MODELYARD_PREDICTION_LOG_DIR": str(spool),
            "MODELYARD_DEPLOYMENT": "delay",
            "MODELYARD_MODEL_VERSION": "7",
            "MODELYARD_POD_UID": POD,
        }
        self.process: subprocess.Popen[str] | None = None

    def start_courier(self, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "modelyard.steps.courier"],
            env={**os.environ, **self.variables, **variables},
            stdout=subprocess.PIPE,
            text=True,
        )

    def end_courier(self) -> tuple[int, str]:
        """Return the exit code and the log after SIGTERM."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, output

    def open_log(self, **more: Any) -> PredictionLog:
        return PredictionLog(self.spool, 1.0, (), {"version": "7", "deployment": "delay"}, **more)

    def delivered(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*.jsonl.gz") if path.is_file())

    def rows(self) -> list[float]:
        lines = [line for path in self.delivered() for line in gzip.decompress(path.read_bytes()).splitlines()]
        return [json.loads(line)["inputs"]["a"] for line in lines]


@pytest.fixture
def pod(s3_server: S3Server, tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(s3_server, tmp_path / "spool")
    yield pod
    if pod.process and pod.process.poll() is None:
        pod.process.kill()
        pod.process.communicate()


def add(log: PredictionLog, *values: float) -> None:
    for value in values:
        log.add("i", {"a": np.full((1, 1), value)}, {}, 1, 100)


def test_segments_are_delivered_while_the_server_runs_and_what_is_left_at_the_end(pod: Pod) -> None:
    log = pod.open_log(window=0.0)
    pod.start_courier()
    add(log, 1.0)
    wait_until(lambda: len(pod.delivered()) == 1, seconds=SECONDS, what="the first segment in the store")
    wait_until(lambda: not segments(pod.spool), seconds=SECONDS, what="the spool to be empty")
    path = pod.delivered()[0].relative_to(pod.root / "air/predictions")
    assert path.parts[0] == "delay"
    assert path.name.startswith(f"v7-{POD}-")
    add(log, 2.0, 3.0)
    log.close()
    code, _ = pod.end_courier()
    assert code == 0
    assert sorted(pod.rows()) == [1.0, 2.0, 3.0]
    assert list(pod.spool.iterdir()) == []


def test_unfinished_segment_of_a_killed_server_is_delivered_at_the_end(pod: Pod) -> None:
    log = pod.open_log(window=600)  # it must not finish the segment itself, however slow the machine is
    add(log, 1.0)
    wait_until(lambda: log.records["written"] == 1, seconds=SECONDS, what="the record to be written")
    pod.start_courier()
    wait_until(lambda: pod.process is not None and _listens_to_sigterm(pod.process.pid), seconds=SECONDS, what="start")
    code, output = pod.end_courier()
    assert (code, pod.rows()) == (0, [1.0])
    assert "lost" not in output
    log._counter_file.write_bytes(bytes(16))  # this process lives on and closes it after all
    log.close()


def test_thing_that_is_no_segment_holds_nothing_up(pod: Pod) -> None:
    log = pod.open_log()
    add(log, 1, 2)
    log.close()
    (pod.spool / "20000101T000000Z-v7-0123456789abcdef-0-1.jsonl").symlink_to("/etc/passwd")
    pod.start_courier()
    wait_until(lambda: pod.rows() == [1, 2], seconds=SECONDS, what="the segment to be delivered")
    _, said = pod.end_courier()
    assert "stays here" in said


def test_delivery_that_was_cut_off_before_the_deletion_is_not_done_twice(pod: Pod) -> None:
    log = pod.open_log()
    add(log, 1.0)
    log.close()
    ((path, segment),) = segments(pod.spool)
    data = path.read_bytes()
    pod.start_courier()
    wait_until(lambda: not segments(pod.spool), seconds=SECONDS, what="the delivery")
    (before,) = pod.delivered()
    path.write_bytes(data)
    wait_until(lambda: not segments(pod.spool), seconds=SECONDS, what="the second delivery")
    code, output = pod.end_courier()
    assert code == 0
    assert "was there already" in output
    assert pod.delivered() == [before]
    assert pod.rows() == [1.0]
    assert segment.begin == 0


def test_store_that_is_away_is_waited_for(own_s3_server: S3Server, tmp_path: Path) -> None:
    pod = Pod(own_s3_server, tmp_path / "spool")
    own_s3_server.stop()
    log = pod.open_log()
    add(log, 1.0)
    log.close()
    pod.start_courier()
    assert pod.process
    assert pod.process.stdout
    assert "trying again" in pod.process.stdout.readline()
    assert len(segments(pod.spool)) == 1
    own_s3_server.start()
    wait_until(lambda: pod.rows() == [1.0], seconds=SECONDS, what="the delivery")
    assert pod.end_courier()[0] == 0


@pytest.mark.parametrize("variable", ["MODELYARD_DEPLOYMENT", "MODELYARD_POD_UID", "MODELYARD_MODEL_VERSION"])
def test_variable_that_would_leave_the_path_is_refused(variable: str) -> None:
    good = {"MODELYARD_DEPLOYMENT": "a", "MODELYARD_POD_UID": "b", "MODELYARD_MODEL_VERSION": "1"}
    with pytest.raises(InvalidSource, match=variable):
        Settings.read(good | {variable: "../b"})


def test_courier_that_holds_segments_stays_small(pod: Pod) -> None:
    log = pod.open_log(window=0.0)
    pod.start_courier()
    add(log, *range(20_000))
    log.close()
    wait_until(lambda: len(pod.rows()) == 20_000, seconds=SECONDS, what="the delivery", poll_seconds=0.5)
    assert pod.process
    status = Path(f"/proc/{pod.process.pid}/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    assert peak < 64 * 1024, f"{peak} KiB"


def _listens_to_sigterm(process: int) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)
