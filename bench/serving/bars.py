"""The bars that the model server is held to, and whether they hold (the medians of one run)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.serving.drains import Replacements
from bench.serving.figures import LIMIT, Cell, Figure, Ratio, Samples, cpu_us, per_second, pooled_change, ratio
from bench.serving.rounds import MONITORED, MONITORED_CELLS, Problems
from bench.serving.servers import FLOOR, LOGGED, MONITORING, OURS, PROFILED, UNMONITORED, UNMONITORED_AGAIN
from bench.serving.starts import Start
from bench.serving.workloads import BINARY, MODELS

MLSERVER: Final = ("mlserver", "mlserver batching")
ALL_PEERS: Final = (*MLSERVER, "kserve", "mosec", "mosec batching", "fastapi")
_MEGABYTE: Final = 1e6
_SMALL: Final = "gbt"
_LOADED: Final = Cell(64, 16)

_TIMES_MLSERVER: Final = {Cell(1, 16): 14.0, Cell(1, 64): 20.0, Cell(1, 1): 4.0}
_TIMES_MLSERVER_LOADED: Final = {"gbt": 4.5, "mixed": 4.5, "mlp": 2.2}
_TIMES_BEST: Final = {Cell(1, 16): 3.5, Cell(1, 64): 1.7, Cell(1, 1): 1.5, _LOADED: 1.4}
_SHARES: Final = (("gbt", "json", 0.52), ("mlp", "json", 0.78), ("gbt", BINARY, 0.72), ("mlp", BINARY, 0.86))
_TIMES_FLOOR: Final = 2.8
_START_SECONDS: Final = 0.5
_MEMORY_MEGABYTES: Final = 85
_CHANGES: Final = ((PROFILED, 0.03), (LOGGED, 0.06))


@dataclass(frozen=True)
class Bar:
    """A figure and its limit; `seen` is None when something of it was not measured."""

    name: str
    floor: float
    seen: Ratio | None
    note: str = ""
    unit: str = "x"
    at_least: bool = True

    @property
    def holds(self) -> bool | None:
        if self.seen is None:
            return None
        return self.seen.value >= self.floor if self.at_least else self.seen.value <= self.floor

    @property
    def verdict(self) -> str:
        return {True: "holds", False: "FAILS", None: "not measured"}[self.holds]

    def text(self, value: float) -> str:
        """A value with the unit."""
        if self.unit == "%":
            return f"{value * 100:.1f} %"
        return f"{value:.3g}{self.unit and ' '}{self.unit}"


def bars(
    samples: Samples, starts: Sequence[Start], replacements: Sequence[Replacements], problems: Problems
) -> list[Bar]:
    """All bars of one run, measured or not."""
    return [
        *_against_mlserver(samples),
        *_against_best(samples),
        *_against_limit(samples),
        _against_floor(samples),
        *_at_start(starts),
        *_monitoring(samples),
        *_replacing(replacements),
        _failures(samples, problems),
    ]


def _against_mlserver(samples: Samples) -> Iterator[Bar]:
    for model in MODELS:
        floors = _TIMES_MLSERVER | {_LOADED: _TIMES_MLSERVER_LOADED[model]}
        for cell, floor in floors.items():
            name = f"requests/s, {model}, {cell}, against MLServer"
            yield Bar(name, floor, *_times_best_of(samples, model, cell, MLSERVER))


def _against_best(samples: Samples) -> Iterator[Bar]:
    for model in MODELS:
        for cell, floor in _TIMES_BEST.items():
            name = f"requests/s, {model}, {cell}, against the best peer"
            yield Bar(name, floor, *_times_best_of(samples, model, cell, ALL_PEERS))


def _times_best_of(samples: Samples, model: str, cell: Cell, servers: Sequence[str]) -> tuple[Ratio | None, str]:
    """Return the ratio to the best of several servers, and its name."""
    best = samples.best(model, cell, servers)
    return (samples.ratio(per_second, model, cell, OURS, best), best) if best else (None, "")


def _against_limit(samples: Samples) -> Iterator[Bar]:
    for model, encoding, floor in _SHARES:
        cell = Cell(_LOADED.rows, _LOADED.connections, encoding)
        seen = _ratio(cpu_us, samples, model, (LIMIT, Cell(cell.rows, 1)), (OURS, cell))
        yield Bar(f"ONNX Runtime's share of the CPU time, {model}, {cell}", floor, seen, unit="%")


def _against_floor(samples: Samples) -> Bar:
    cell = Cell(1, 64)
    seen = samples.ratio(cpu_us, _SMALL, cell, OURS, FLOOR)
    return Bar(
        f"CPU time of a request, {_SMALL}, {cell}, against nginx's fixed answer", _TIMES_FLOOR, seen, at_least=False
    )


def _at_start(starts: Sequence[Start]) -> Iterator[Bar]:
    start = next((start for start in starts if (start.model, start.server) == (_SMALL, OURS)), None)
    name = "process start to first correct answer"
    yield Bar(name, _START_SECONDS, _spread(start.seconds) if start else None, unit="s", at_least=False)
    memory = _spread([start.memory_bytes / _MEGABYTE]) if start else None
    yield Bar("resident memory with one small model", _MEMORY_MEGABYTES, memory, unit="MB", at_least=False)


def _monitoring(samples: Samples) -> Iterator[Bar]:
    noise = monitoring_change(samples, UNMONITORED_AGAIN)
    for variant, limit in _CHANGES:
        note = f"two equal servers differ by {noise.value:+.1%}" if noise else ""
        seen = monitoring_change(samples, variant)
        yield Bar(f"CPU time of a request, {variant}, over unmonitored", limit, seen, note, "%", at_least=False)


def monitoring_change(samples: Samples, variant: str, models: Sequence[str] = MODELS) -> Ratio | None:
    """How much more CPU time than the unmonitored server the variant takes for a request, by pairs close in time."""
    pairs = [
        (first, second)
        for model in models
        for cell in MONITORED_CELLS
        for first in samples.of(model, UNMONITORED, cell)
        for second in samples.of(model, variant, cell)
        if first.round == second.round
    ]
    return pooled_change(cpu_us, pairs)


def _replacing(replacements: Sequence[Replacements]) -> Iterator[Bar]:
    for kind in ("drain", "swap"):
        found = next((one for one in replacements if (one.server, one.kind) == (OURS, kind)), None)
        name = f"failed requests in {found.times if found else 10} {kind}s under load"
        yield Bar(name, 0, _spread([found.failures]) if found else None, unit="", at_least=False)


def _failures(samples: Samples, problems: Problems) -> Bar:
    """A problem of ours, such as a load under which nothing was answered, counts as a failure."""
    noted = [server for _, server in problems.found if server in (OURS, MONITORED)]
    failed = samples.failed((OURS, *MONITORING)) + len(noted)
    return Bar("failed requests of ours in all cells", 0, _spread([failed]), unit="", at_least=False)


def _ratio(
    figure: Figure, samples: Samples, model: str, upper: tuple[str, Cell], lower: tuple[str, Cell]
) -> Ratio | None:
    return ratio(figure, samples.of(model, *upper), samples.of(model, *lower))


def _spread(values: Sequence[float]) -> Ratio:
    return Ratio(median(values), min(values), max(values))
