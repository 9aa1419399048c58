"""A work queue with the semantics of client-go's."""

import asyncio
import heapq
import random
import time
from collections.abc import Callable

from modelyard.controller.engine.backoff import backoff
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.metrics import QueueMetrics


class QueueClosed(Exception):  # noqa: N818 not an error: how a worker learns that it is done
    """The queue hands out nothing more."""


class WorkQueue:
    """Keys that wait for a pass: each of them once, and never two running passes of one key.

    A key that is added while its pass runs gets another one after it. Of several deadlines of a key the
    earliest counts, and the start of a pass clears it. Bounded by the number of objects.

    Args:
        metrics: what is counted.
        clock: seconds on a clock that never goes back.
        rng: a source of numbers in [0, 1), for jitter.
        base_delay: the first delay of `add_backoff` in seconds; each further one is twice as long.
        max_delay: the longest delay of `add_backoff` in seconds.
    """

    def __init__(
        self,
        metrics: QueueMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
        base_delay: float = 0.5,
        max_delay: float = 300.0,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._ready: asyncio.Queue[Key | None] = asyncio.Queue()
        self._dirty: dict[Key, float] = {}
        self._running: dict[Key, float] = {}
        self._deadlines: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failures: dict[Key, int] = {}
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.depth.set_function(lambda: self.depth)
        metrics.longest.set_function(lambda: self.longest_running)
        metrics.unfinished.set_function(lambda: sum(self._ages()))

    def add(self, key: Key) -> None:
        """Asks for a pass as soon as a worker is free."""
        if self._closed or key in self._dirty:
            return
        self._metrics.adds.inc()
        self._dirty[key] = self._clock()
        if key not in self._running:
            self._ready.put_nowait(key)

    def add_after(self, key: Key, delay: float) -> None:
        """Asks for a pass in `delay` seconds, or earlier if it was already asked for earlier."""
        if delay <= 0:
            self.add(key)
            return
        deadline = self._clock() + delay
        if self._closed or self._deadlines.get(key, deadline + 1) <= deadline:
            return
        self._deadlines[key] = deadline
        heapq.heappush(self._heap, (deadline, key))
        self._arm()

    def add_backoff(self, key: Key, *, at_least: float = 0.0) -> float:
        """Asks for a pass after a failure, later with each one in a row.

        Args:
            key: what failed.
            at_least: the shortest delay in seconds; the first one, if the queue's own is shorter.

        Returns:
            The delay in seconds.
        """
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        self._metrics.retries.inc()
        first, last = max(self._base_delay, at_least), max(self._max_delay, at_least)
        delay = backoff(failures, first=first, last=last, rng=self._rng)
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Ends the row of failures of a key."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key, whose pass begins; `done` has to be called at its end.

        Raises:
            QueueClosed: the queue was shut down.
        """
        key = await self._ready.get()
        if key is None:
            self._ready.put_nowait(None)
            raise QueueClosed
        self._metrics.wait.observe(self._clock() - self._dirty.pop(key))
        self._deadlines.pop(key, None)
        self._running[key] = self._clock()
        self._idle.clear()
        return key

    def done(self, key: Key) -> None:
        """Ends the pass of a key; one that was added meanwhile waits again."""
        self._metrics.work.observe(self._clock() - self._running.pop(key))
        if key in self._dirty and not self._closed:
            self._ready.put_nowait(key)
        if not self._running:
            self._idle.set()

    def tick(self) -> None:
        """Adds the keys whose deadline has come."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            deadline, key = heapq.heappop(self._heap)
            if self._deadlines.get(key) == deadline:
                del self._deadlines[key]
                self.add(key)
        self._arm()

    async def shutdown(self, drain_deadline: float) -> bool:
        """Hands out nothing more, and waits for the running passes.

        Args:
            drain_deadline: the longest wait in seconds.

        Returns:
            Whether they all ended in time.
        """
        self._closed = True
        if self._timer:
            self._timer.cancel()
        while not self._ready.empty():
            self._ready.get_nowait()
        self._ready.put_nowait(None)
        try:
            async with asyncio.timeout(drain_deadline):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._dirty.keys() - self._running.keys())

    @property
    def longest_running(self) -> float:
        """The age of the oldest running pass in seconds; 0 when there is none."""
        return max(self._ages(), default=0.0)

    def _ages(self) -> list[float]:
        now = self._clock()
        return [now - started for started in self._running.values()]

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if len(self._heap) > 2 * len(self._deadlines) + 64:
            self._heap = [(deadline, key) for key, deadline in self._deadlines.items()]
            heapq.heapify(self._heap)
        if self._heap and not self._closed:
            delay = max(0.0, self._heap[0][0] - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self.tick)
