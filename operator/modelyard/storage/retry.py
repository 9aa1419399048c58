"""Patience with a store that is down: retry with backoff until a deadline."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from modelyard.storage.errors import StoreUnreachable

T = TypeVar("T")

FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 15.0


class Patience:
    """Retries operations that find the store unreachable, all of them together until one deadline."""

    def __init__(self, seconds: float, report: Callable[[str], None]) -> None:
        """Start the clock.

        Args:
            seconds: how long, from now, outages are sat out; 0 = not at all.
            report: told about every wait, in a sentence.
        """
        self._deadline = time.monotonic() + seconds
        self._report = report

    def call(self, operation: Callable[[], T]) -> T:
        """Return what the operation returns; it must be safe to repeat.

        Raises:
            StoreUnreachable: still unreachable at the deadline.
        """
        for delay in delays():
            try:
                return operation()
            except StoreUnreachable as error:
                left = self._deadline - time.monotonic()
                if left <= 0:
                    raise
                self._report(f"{error}; trying again for another {left:.0f} s")
                time.sleep(min(delay, left))
        raise AssertionError("delays() never ends")


def delays(first: float = FIRST_DELAY_SECONDS, longest: float = LONGEST_DELAY_SECONDS) -> Iterator[float]:
    """Yield seconds to wait between tries: doubling up to `longest`, each with jitter, without end."""
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not cryptography
        delay = min(delay * 2, longest)
