"""Requests that wait in the same tick of the event loop are answered by one run, without waiting for more to come."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from modelyard.serving.answers import Answer, Run
from modelyard.serving.decoding import InferenceRequest
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import Model
from modelyard.serving.profile import Profile
from modelyard.serving.runs import Outcome, run_together
from modelyard.serving.worker import Worker

INLINE_SECONDS: Final = 0.002
"""A run up to this long holds up the event loop less than handing it to the worker would cost."""
MAX_QUEUED: Final = 1024
"""Requests that wait for a run."""
_CALM_SECONDS: Final = 0.005
"""A queue that is answered as soon as this cannot be too long for anybody."""
_LONGEST_LOOK: Final = 0.25
"""Seconds: requests with an earlier deadline than those before them may come meanwhile."""


class OverloadedError(Exception):
    """The request would wait too long: the client should come again."""


@dataclass(slots=True)
class Waiting:
    """A request that waits for its run.

    Attributes:
        deadline: Reading of `time.monotonic()` after which nobody waits for the answer.
        deliver: Takes the outcome, once, on the event loop's thread.
    """

    request: InferenceRequest
    received: float
    deadline: float
    deliver: Callable[[Outcome], None]
    done: bool = False


class Batcher:
    """Queues the requests of one model and runs them together, short runs at once and long ones in the worker."""

    def __init__(
        self,
        model: Model,
        worker: Worker,
        metrics: Metrics,
        profile: Profile | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.model = model
        self._profile = profile
        self._worker = worker
        self._metrics = metrics
        self._loop = loop
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        best = model.cost.best_rows
        self._calm_rows = best * _CALM_SECONDS / model.cost.of(best) if model.mergeable else 0.0
        self._scheduled = False
        self._running = False
        self._timer: asyncio.TimerHandle

    def submit(self, waiting: Waiting) -> None:
        """Queue a request; its outcome is delivered after this call has returned.

        Raises:
            OverloadedError: So many are queued that this one would not be answered in time.
        """
        if self._overloaded(waiting):
            self._metrics.shed += 1
            raise OverloadedError
        self._queue.append(waiting)
        self._rows += waiting.request.rows
        self._metrics.in_flight += 1
        if not (self._scheduled or self._running):
            self._schedule()

    def _overloaded(self, waiting: Waiting) -> bool:
        if len(self._queue) >= MAX_QUEUED:
            return True
        if self._rows <= self._calm_rows:
            return False
        cost, rows = self.model.cost, self._rows + waiting.request.rows
        runs = 1 + rows // cost.best_rows if self.model.mergeable else 1 + len(self._queue)
        return runs * cost.of(min(cost.best_rows, rows)) > waiting.deadline - waiting.received

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Run what is queued: until the loop has been held up long enough, or the worker has to do it."""
        self._scheduled = False
        begin = now = time.monotonic()
        while self._queue:
            batch, rows = self._take(now)
            if not batch:
                continue
            self._metrics.batch_rows.add(rows)
            requests = [waiting.request for waiting in batch]
            if self.model.cost.of(rows) > INLINE_SECONDS:
                self._hand_over(batch, requests)
                return
            self._deliver(batch, run_together(self.model.session, requests))
            now = time.monotonic()
            if self._queue and now - begin > INLINE_SECONDS:
                self._schedule()
                return

    def _take(self, now: float) -> tuple[list[Waiting], int]:
        """Take the requests of the next run and their rows off the queue; who waits no more is told so."""
        batch: list[Waiting] = []
        rows = 0
        queue, best_rows, mergeable = self._queue, self.model.cost.best_rows, self.model.mergeable
        while queue:
            waiting = queue[0]
            request = waiting.request
            if batch and not (mergeable and rows + request.rows <= best_rows):
                break
            queue.popleft()
            self._rows -= request.rows
            if waiting.deadline <= now:
                self._expire(waiting)
                continue
            self._metrics.queue_wait.add(now - waiting.received)
            batch.append(waiting)
            rows += request.rows
        return batch, rows

    def _hand_over(self, batch: Sequence[Waiting], requests: Sequence[InferenceRequest]) -> None:
        self._running = True
        future = self._worker.submit(partial(run_together, self.model.session, requests))
        self._watch_deadlines(batch)
        future.add_done_callback(partial(self._handed_back, batch))

    def _handed_back(self, batch: Sequence[Waiting], future: asyncio.Future[list[Outcome]]) -> None:
        self._timer.cancel()
        self._running = False
        self._deliver(batch, future.result())
        if self._queue:
            self._schedule()

    def _watch_deadlines(self, batch: Sequence[Waiting]) -> None:
        """While the worker runs: answer everybody whose time is over, also those queued behind."""
        now = time.monotonic()
        left: list[float] = []
        for waiting in (*batch, *self._queue):
            if waiting.deadline <= now:
                self._expire(waiting)
            elif not waiting.done:
                left.append(waiting.deadline)
        next_look = min(left, default=now + _LONGEST_LOOK) - now
        self._timer = self._loop.call_later(min(next_look, _LONGEST_LOOK), self._watch_deadlines, batch)

    def _expire(self, waiting: Waiting) -> None:
        if not waiting.done:
            self._metrics.timeouts += 1
            self._deliver([waiting], [TimeoutError()])

    def _deliver(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        run: Run | None = None
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if self._profile is not None and isinstance(outcome, Answer) and outcome.run is not run:
                run = outcome.run
                self._profile.record(run)
            if not waiting.done:
                waiting.done = True
                self._metrics.in_flight -= 1
                waiting.deliver(outcome)
