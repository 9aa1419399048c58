"""What the server counts. Plain numbers, so that counting costs next to nothing; exposition.py shows them."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

OTHER: Final = "other"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of durations: a tabular model answers within a millisecond."""
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """Counts of values in buckets and one more for what is larger.

    Attributes:
        bounds: Upper bounds of the buckets, each included.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """The counts of one server, all of them written on the event loop's thread.

    Args:
        objective: Seconds within which requests should be answered: a bucket of its own, so that their share is exact.

    Attributes:
        requests: By endpoint and status.
        durations: Of inference, by outcome.
        rows: Rows of answered inference requests.
        in_flight: Inference requests being answered.
        queue_wait: Seconds from a request's last byte to its run.
        batch_rows: Rows of a run.
        shed: Requests refused because too many were waiting.
        timeouts: Requests not answered in time.
        swaps: Models that replaced another one while serving.
        invalid_values: Values refused, by feature and kind.
    """

    def __init__(self, objective: float | None = None) -> None:
        bounds = SECONDS if objective is None else tuple(sorted({*SECONDS, objective}))
        self.requests: Counter[tuple[str, int]] = Counter()
        self.durations = {outcome: Histogram(bounds) for outcome in ("ok", "client_error", "server_error")}
        self.rows = 0
        self.in_flight = 0
        self.queue_wait = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)
        self.shed = 0
        self.timeouts = 0
        self.swaps = 0
        self.invalid_values: Counter[tuple[str, str]] = Counter()

    def observe(self, endpoint: str, status: int, seconds: float, *, timed: bool) -> None:
        """Count one answer, and its duration where that says something."""
        self.requests[endpoint, status] += 1
        if timed:
            self.durations[outcome(status)].add(seconds)


def outcome(status: int) -> str:
    """Class of an HTTP status."""
    return "ok" if status < 400 else "client_error" if status < 500 else "server_error"  # noqa: PLR2004 - HTTP's own
