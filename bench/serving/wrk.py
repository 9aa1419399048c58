"""Load by wrk: one thread, keep-alive connections, the same POST again and again."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.serving.processes import LOAD_CORE, pinned
from bench.serving.workloads import HEADER_LENGTH, Message

SCRIPT: Final = Path(__file__).with_name("post.lua")
_MARK: Final = "figures "
_END_SECONDS: Final = 15.0
_AGAIN_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.002


class LoadError(RuntimeError):
    """There are no figures; the message has what wrk said."""


@dataclass(frozen=True)
class Load:
    """What wrk saw. `requests` are all answers, `refused` those with a status of 400 or more."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def failed(self) -> int:
        return self.refused + self.broken


def parse(output: str) -> Load:
    """Read the figures that the script printed.

    Raises:
        LoadError: There are none, or no request was answered.
    """
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise LoadError(f"wrk gave no figures: {output.strip()[-500:]}")
    figures = json.loads(line.removeprefix(_MARK))
    if not figures["requests"]:
        raise LoadError(f"no request was answered: {line}")
    return Load(
        requests=figures["requests"],
        seconds=figures["microseconds"] / 1e6,
        p50_ms=figures["p50"] / 1e3,
        p99_ms=figures["p99"] / 1e3,
        refused=figures["status"],
        broken=sum(figures[kind] for kind in ("connect", "read", "write", "timeout")),
    )


def run(url: str, message: Message, connections: int, seconds: float) -> Load:
    """Load a server from the other core.

    wrk takes whole seconds only, so signals tell it to end; it then prints what it has and the time of it.

    Raises:
        LoadError: wrk failed, or nothing was answered.
    """
    with TemporaryDirectory() as folder:
        body, output = Path(folder, "body"), Path(folder, "output")
        body.write_bytes(message.body)
        environment = {**os.environ, "BENCH_BODY": str(body), "BENCH_CONTENT_TYPE": message.headers["Content-Type"]}
        if message.header_length is not None:
            environment["BENCH_HEADER_LENGTH"] = message.headers[HEADER_LENGTH]
        options = ["--threads=1", f"--connections={connections}", "--duration=1h", f"--script={SCRIPT}"]
        command = ["stdbuf", "--output=L", "wrk", *options, url]
        with output.open("wb") as file:
            process = subprocess.Popen(pinned(LOAD_CORE, command), env=environment, stdout=file, stderr=file)
        try:
            _let_run(process, output, seconds)
        finally:
            process.kill()
            process.wait()
        return parse(output.read_text(errors="replace"))


def _let_run(process: subprocess.Popen[bytes], output: Path, seconds: float) -> None:
    """Let it load for a time from when it says that it does, then tell it to end."""
    deadline = time.monotonic() + seconds + _END_SECONDS
    while process.poll() is None and not output.stat().st_size and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    wait = seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # one that comes before it sleeps does not wake it
            wait = _AGAIN_SECONDS
