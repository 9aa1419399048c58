"""The rounds: each visits every server and cell in an order of its own; what is not measured stands still."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final

from bench.serving import wrk
from bench.serving.figures import LIMIT, Cell, Sample
from bench.serving.onnx_limit import OnnxLimit
from bench.serving.servers import FLOOR, MONITORING, OURS, Running, Server, ServerError, ours
from bench.serving.workloads import BINARY, JSON, ROWS, Workload
from dev.cluster.paths import Report

MONITORED: Final = "modelyard monitoring"
"""What problems of the comparison with and without monitoring are noted under."""
MONITORED_CELLS: Final = (Cell(1, 64), Cell(64, 16))
MONITORED_PAIRS: Final = 2
"""Times in a round that each variant is measured in a cell."""
_SATURATED_CELL: Final = Cell(64, 64)
_BINARY_CELL: Final = Cell(64, 16, BINARY)
_MONITORED_SHARE: Final = 0.25
_WARM_UP_SHARE: Final = 0.1
_LIMIT_SHARE: Final = 0.4
_TOGETHER: Final = 16
_FAILURES: Final = (wrk.LoadError, ServerError, OSError)

Job = Callable[[int], list[Sample]]
"""Measures something in the round with this number."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long (seconds a cell)."""

    cells: tuple[Cell, ...]
    rounds: int
    seconds: float
    seed: int


@dataclass
class Problems:
    """Servers that could not be measured, by model and name, with what they said."""

    found: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, model: str, server: str, text: str) -> None:
        self.found.setdefault((model, server), text)

    @contextmanager
    def noting(self, model: str, server: str, what: str = "") -> Iterator[None]:
        """Note a failure to measure, and go on."""
        try:
            yield
        except _FAILURES as error:
            self.add(model, server, f"{what}{error}")

    def of(self, model: str, server: str) -> str | None:
        return self.found.get((model, server))


@dataclass(frozen=True)
class Run:
    """What one run goes by.

    Attributes:
        folder: for whatever the servers write.
        report: told how far it is.
    """

    plan: Plan
    folder: Path
    problems: Problems
    report: Report


def cells_of(server: Server, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that a server is measured in: what says nothing is left out, so that the rest gets the time."""
    chosen = [cell for cell in cells if cell.encoding in server.encodings]
    if server.name == FLOOR:
        return [cell for cell in chosen if cell.rows == 1 and cell.connections > 1]
    if server.name == "mlserver batching":
        return [cell for cell in chosen if cell.connections > 1 and cell != _SATURATED_CELL]
    if server.package == "kserve":
        return [cell for cell in chosen if cell.encoding == JSON or cell == _BINARY_CELL]
    return chosen


def measure_model(model: Workload, servers: Sequence[Server], run: Run) -> list[Sample]:
    """Start all servers, check their answers, and measure them in rounds.

    Raises:
        ServerError: ours failed; what others fail with is noted in the run's problems.
    """
    plan = run.plan
    rng = random.Random(f"{plan.seed} {model.name}")  # noqa: S311 - an order, not a secret
    samples: list[Sample] = []
    with ExitStack() as stack:
        limit = stack.enter_context(OnnxLimit(model))
        jobs = [_limit_job(limit, model, rows, plan) for rows in sorted({cell.rows for cell in plan.cells})]
        for server in servers:
            running = _started(stack, server, model, run)
            if running:
                jobs += [_cell_job(running, cell, run) for cell in cells_of(server, plan.cells)]
        jobs.append(_monitoring_job(model, run, rng))
        for number in range(plan.rounds):
            run.report(f"{model.name}: round {number + 1} of {plan.rounds}")
            rng.shuffle(jobs)
            samples += [sample for job in jobs for sample in job(number)]
    return samples


def _started(stack: ExitStack, server: Server, model: Workload, run: Run) -> Running | None:
    running = server.start(model, run.folder / f"{model.name}-{server.name.replace(' ', '-')}")
    stack.callback(running.tree.stop)
    try:
        running.wait_correct()
        check_answers(running)
    except (ServerError, OSError) as error:
        if server.package == OURS:
            raise
        run.report(f"{server.name} is left out: {error}")
        run.problems.add(model.name, server.name, str(error))
        return None
    running.tree.freeze()
    return running


def check_answers(running: Running) -> None:
    """Compare answers of every kind with the model's own, also of requests that come together and so may be batched.

    Raises:
        ServerError: one is wrong.
    """
    model, server = running.launch.workload, running.server
    if server.name == FLOOR:
        return
    asked = [(rows, encoding, 0) for rows, encoding in product(ROWS, server.encodings)]
    together = [(1, encoding, first) for encoding in server.encodings for first in range(_TOGETHER)]

    def fault(request: tuple[int, str, int]) -> str:
        rows, encoding, first = request
        return model.fault(running.ask(model.request(rows, encoding, first=first)), rows, first=first)

    with ThreadPoolExecutor(_TOGETHER) as pool:
        faults = [*map(fault, asked), *pool.map(fault, together)]
    wrong = next(filter(None, faults), None)
    if wrong:
        raise ServerError(f"{server.name} with {model.name}: {wrong}")


@contextmanager
def _awake(running: Running) -> Iterator[None]:
    running.tree.thaw()
    try:
        yield
    finally:
        running.tree.freeze()


def _cell_job(running: Running, cell: Cell, run: Run) -> Job:
    model, server = running.launch.workload.name, running.server

    def measure(number: int) -> list[Sample]:
        samples: list[Sample] = []
        if not run.problems.of(model, server.name):
            with run.problems.noting(model, server.name, f"{cell}: "):
                samples.append(measure_cell(running, cell, run.plan.seconds, number))
        return samples

    return measure


def measure_cell(running: Running, cell: Cell, seconds: float, number: int) -> Sample:
    """Wake a server, see that it answers, load it, and let it rest."""
    request = running.launch.workload.request(cell.rows, cell.encoding)
    with _awake(running):
        running.ask(request)
        before = running.tree.cpu_seconds()
        load = wrk.run(running.url, request, cell.connections, seconds)
        used = running.tree.cpu_seconds() - before
    return Sample(
        round=number,
        model=running.launch.workload.name,
        server=running.server.name,
        cell=cell,
        requests=load.requests,
        seconds=load.seconds,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        failed=load.failed,
        cpu_seconds=used,
    )


def _limit_job(limit: OnnxLimit, model: Workload, rows: int, plan: Plan) -> Job:
    def measure(number: int) -> list[Sample]:
        seconds = plan.seconds * _LIMIT_SHARE
        calls, cpu = limit.measure(rows, seconds)
        return [Sample(number, model.name, LIMIT, Cell(rows, 1), calls, seconds, 0, 0, 0, cpu)]

    return measure


def _monitoring_job(model: Workload, run: Run, rng: random.Random) -> Job:
    """Compare new processes in each round: two equal ones can differ by 5 % for as long as they live."""
    cells = [cell for cell in MONITORED_CELLS if cell in run.plan.cells]

    def measure(number: int) -> list[Sample]:
        samples: list[Sample] = []
        with run.problems.noting(model.name, MONITORED), ExitStack() as stack:
            variants = [_started_variant(stack, name, model, run) for name in MONITORING] if cells else []
            for cell, pair in product(cells, range(MONITORED_PAIRS)):
                at = number * MONITORED_PAIRS + pair
                seconds = run.plan.seconds * _MONITORED_SHARE
                order = rng.sample(variants, len(variants))
                samples += [measure_cell(running, cell, seconds, at) for running in order]
        return samples

    return measure


def _started_variant(stack: ExitStack, name: str, model: Workload, run: Run) -> Running:
    running = ours(MONITORING[name], name=name).start(model, run.folder / f"{model.name}-{name.replace(' ', '-')}")
    stack.callback(running.tree.stop)
    running.wait_correct()
    wrk.run(running.url, model.request(1), _TOGETHER, run.plan.seconds * _WARM_UP_SHARE)
    running.tree.freeze()
    return running


ALL_CELLS: Final = tuple(
    Cell(rows, connections, encoding) for rows in ROWS for connections in (1, 16, 64) for encoding in (JSON, BINARY)
)
