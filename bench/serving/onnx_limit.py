"""The limit: ONNX Runtime alone, in a process of its own on the servers' core, inputs ready, one thread.

As a program it reads lines of `rows seconds`, and answers each with the calls that it made and the CPU seconds of all.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.serving.peers.onnx_model import open_session
from bench.serving.processes import SERVER_CORE, pinned
from bench.serving.workloads import ROWS, Workload, workload
from dev.cluster.paths import REPOSITORY

_CALLS: Final = 20


class OnnxLimit:
    """The process, which waits until it is asked."""

    def __init__(self, model: Workload) -> None:
        self._process = subprocess.Popen(
            pinned(SERVER_CORE, [sys.executable, "-m", "bench.serving.onnx_limit", model.name]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def measure(self, rows: int, seconds: float) -> tuple[int, float]:
        """Return the number of calls and the CPU seconds of all of them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(rows, seconds, file=self._process.stdin, flush=True)
        calls, cpu = json.loads(self._process.stdout.readline())
        return int(calls), float(cpu)


def main(name: str) -> None:
    model = workload(name)
    session = open_session(Path(model.model_file))
    outputs = [value.name for value in session.get_outputs()]
    inputs = {rows: model.ready_inputs(rows) for rows in ROWS}
    for line in sys.stdin:
        rows, seconds = line.split()
        ready = inputs[int(rows)]
        session.run(outputs, ready)
        calls, began = 0, time.process_time()
        until = time.monotonic() + float(seconds)
        while time.monotonic() < until:
            for _ in range(_CALLS):
                session.run(outputs, ready)
            calls += _CALLS
        print(json.dumps([calls, time.process_time() - began]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
