"""What was measured, and the medians, ratios and spreads of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from typing_extensions import override

LIMIT: Final = "onnxruntime"


@dataclass(frozen=True, order=True)
class Cell:
    """One kind of load."""

    rows: int
    connections: int
    encoding: str = "json"

    @override
    def __str__(self) -> str:
        return f"{self.rows} row{'s' if self.rows > 1 else ''}, c={self.connections}, {self.encoding}"


@dataclass(frozen=True)
class Sample:
    """One server under one load for about a second. The limit has neither connections nor latencies."""

    round: int
    model: str
    server: str
    cell: Cell
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU time for one request."""
        return self.cpu_seconds / self.requests * 1e6


Figure = Callable[[Sample], float]


def per_second(sample: Sample) -> float:
    return sample.per_second


def cpu_us(sample: Sample) -> float:
    return sample.cpu_us


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians, with the least and the greatest of the ratios within a round."""

    value: float
    low: float
    high: float

    @property
    def varies(self) -> bool:
        return self.low < self.high


class Samples:
    """All samples of a run."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._by_key: dict[tuple[str, str, Cell], list[Sample]] = {}
        for sample in samples:
            self._by_key.setdefault((sample.model, sample.server, sample.cell), []).append(sample)

    def of(self, model: str, server: str, cell: Cell) -> Sequence[Sample]:
        return self._by_key.get((model, server, cell), ())

    def median(self, figure: Figure, model: str, server: str, cell: Cell) -> float | None:
        """None when it was not measured."""
        samples = self.of(model, server, cell)
        return median(map(figure, samples)) if samples else None

    def ratio(self, figure: Figure, model: str, cell: Cell, upper: str, lower: str) -> Ratio | None:
        """How many times the one server's figure is the other's; None when one of them was not measured."""
        return ratio(figure, self.of(model, upper, cell), self.of(model, lower, cell))

    def best(self, model: str, cell: Cell, servers: Sequence[str]) -> str | None:
        """The server with the most requests per second; None when none was measured."""
        medians = {server: self.median(per_second, model, server, cell) for server in servers}
        measured = {server: value for server, value in medians.items() if value is not None}
        return max(measured, key=measured.__getitem__) if measured else None

    def failed(self, servers: Sequence[str]) -> int:
        return sum(s.failed for (_, server, _), samples in self._by_key.items() if server in servers for s in samples)


def ratio(figure: Figure, upper: Sequence[Sample], lower: Sequence[Sample]) -> Ratio | None:
    """Compare two series of the same rounds."""
    if not upper or not lower:
        return None
    in_rounds = [figure(one) / figure(other) for one in upper for other in lower if one.round == other.round]
    value = median(map(figure, upper)) / median(map(figure, lower))
    return Ratio(value, min(in_rounds, default=value), max(in_rounds, default=value))


def pooled_change(figure: Figure, pairs: Sequence[tuple[Sample, Sample]]) -> Ratio | None:
    """How much greater (1 = 100 %) the second of each pair is: the median of all pairs, and their quartiles."""
    if not pairs:
        return None
    changes = sorted(figure(second) / figure(first) - 1 for first, second in pairs)
    last = len(changes) - 1
    return Ratio(median(changes), changes[round(last / 4)], changes[round(last * 3 / 4)])
