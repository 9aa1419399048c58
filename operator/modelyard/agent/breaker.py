"""A circuit breaker: a store that does not answer is asked by one at a time, ever more seldom."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from modelyard.storage.errors import StorageError, StoreUnreachable
from modelyard.storage.retry import delays

T = TypeVar("T")

TRIP: Final = 2
"""Failures in a row that open it: one alone may be that of a single object."""
FIRST_SECONDS: Final = 2.0
LONGEST_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 1.0


class Breaker:
    """Stands before one store. Belongs to one event loop."""

    def __init__(self, store: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Let everything pass.

        Args:
            store: what messages call the store; they are the same each time, so that watchers see no false change.
            clock: seconds.
        """
        self._message = f"{store}: the store does not answer; it is asked again until it does"
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0
        self._probing = False
        self._pauses = delays(FIRST_SECONDS, LONGEST_SECONDS)

    @property
    def is_open(self) -> bool:
        """Whether the store is taken for absent."""
        return self._failures >= TRIP

    @property
    def retry_seconds(self) -> float:
        """How long not to ask."""
        if not self.is_open:
            return 0.0
        return max(self._retry_at - self._clock(), _PROBE_SECONDS if self._probing else 0.0)

    async def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store, unless it is known to be absent.

        Raises:
            StoreUnreachable: it does not answer, or was not asked.
            StorageError: what it answered.
        """
        if self.retry_seconds > 0:
            raise StoreUnreachable(self._message)
        is_probe = self._probing = self.is_open
        try:
            answer = await ask()
        except StoreUnreachable:
            self._fail(is_probe=is_probe)
            raise StoreUnreachable(self._message) from None
        except StorageError:
            self._recover()
            raise
        finally:
            if is_probe:
                self._probing = False
        self._recover()
        return answer

    def _fail(self, *, is_probe: bool) -> None:
        if self.is_open and not is_probe:
            return  # was asked before others found out
        self._failures += 1
        if self.is_open:
            self._retry_at = self._clock() + next(self._pauses)

    def _recover(self) -> None:
        self._failures = 0
        self._pauses = delays(FIRST_SECONDS, LONGEST_SECONDS)
