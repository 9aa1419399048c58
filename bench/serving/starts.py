"""From the start of the process to the first correct answer, and the memory of a warm server."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from bench.serving import wrk
from bench.serving.rounds import Run
from bench.serving.servers import Server
from bench.serving.workloads import Workload

_WARM_SECONDS: Final = 0.5
_WARM_CONNECTIONS: Final = 16


@dataclass(frozen=True)
class Start:
    """Starts of one server with one model."""

    model: str
    server: str
    seconds: tuple[float, ...]
    memory_bytes: int


def measure_starts(models: Iterable[Workload], servers: Sequence[Server], times: int, run: Run) -> list[Start]:
    """Start each server with each model a number of times, one after another."""
    starts = []
    for model, server in product(models, servers):
        if not run.problems.of(model.name, server.name):
            with run.problems.noting(model.name, server.name, "start: "):
                starts.append(_measure(model, server, times, run))
    return starts


def _measure(model: Workload, server: Server, times: int, run: Run) -> Start:
    seconds, memory = [], 0
    for _ in range(times):
        running = server.start(model, run.folder / f"start-{model.name}-{server.name}")
        try:
            seconds.append(running.wait_correct())
            if not memory:
                wrk.run(running.url, model.request(1), _WARM_CONNECTIONS, _WARM_SECONDS)
                memory = running.tree.memory_bytes()
        finally:
            running.tree.stop()
    return Start(model.name, server.name, tuple(seconds), memory)
