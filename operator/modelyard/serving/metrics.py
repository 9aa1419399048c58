"""What the server counts. Plain numbers, so that counting costs next to nothing; exposition.py shows them."""

from bisect import bisect_left
from collections import Counter
from typing import Final

OTHER: Final = "other"
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: a tabular model answers within a millisecond."""


class Histogram:
    """Counts of durations in BUCKETS and one more for what is longer."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """The counts of one server, all of them written on the event loop's thread.

    Attributes:
        requests: By endpoint and status.
        durations: Of inference, by outcome.
        rows: Rows of answered inference requests.
        in_flight: Inference requests being answered.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.durations = {"ok": Histogram(), "client_error": Histogram(), "server_error": Histogram()}
        self.rows = 0
        self.in_flight = 0

    def observe(self, endpoint: str, status: int, seconds: float, *, timed: bool) -> None:
        """Count one answer, and its duration where that says something."""
        self.requests[endpoint, status] += 1
        if timed:
            self.durations[outcome(status)].add(seconds)


def outcome(status: int) -> str:
    """Class of an HTTP status."""
    return "ok" if status < 400 else "client_error" if status < 500 else "server_error"  # noqa: PLR2004 - HTTP's own
