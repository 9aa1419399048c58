"""The loop that makes passes: takes a key, reconciles it, and says when it is looked at again."""

import asyncio
import itertools
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Literal, get_args

from modelyard.controller.engine.errors import Terminal, Transient, Waiting
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.logs import bound
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.queue import QueueClosed, WorkQueue

logger = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[float | None]]
"""One pass; returns seconds until the next one if nothing else causes it, None to leave that to the resync."""

NEVER = math.inf
"""What a pass returns when the object is not there any more."""

Result = Literal["success", "requeue_after", "waiting", "error", "terminal"]


class Controller:
    """Makes the passes of one kind, several at once, never two of one object.

    Args:
        name: for metrics and logs.
        reconcile: one pass.
        metrics: what is counted.
        workers: how many passes run at once.
        deadline: seconds after which a pass is cancelled, and counted as failed.
        resync: seconds after which an object gets a pass in any case, give or take a fifth.
        rng: a source of numbers in [0, 1), for jitter.

    Attributes:
        queue: what waits.
    """

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        metrics: Metrics,
        *,
        workers: int = 8,
        deadline: float = 60.0,
        resync: float = 600.0,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.queue = WorkQueue(metrics.queue(name), rng=rng)
        self._reconcile = reconcile
        self._metrics = metrics
        self._workers = workers
        self._deadline = deadline
        self._resync = resync
        self._rng = rng
        self._pass_ids = itertools.count(1)
        metrics.max_concurrent.labels(name).set(workers)
        metrics.reconcile_errors.labels(name)
        for result in get_args(Result):
            metrics.reconciles.labels(name, result)

    async def run(self) -> None:
        """Works until the queue is shut down."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self._pass(key)
            finally:
                self.queue.done(key)

    async def _pass(self, key: Key) -> None:
        started = time.perf_counter()
        with bound(kind=key.kind, namespace=key.namespace, name=key.name, reconcile_id=next(self._pass_ids)):
            result = await self._attempt(key)
            seconds = time.perf_counter() - started
            logger.debug("pass ended", extra={"result": result, "seconds": round(seconds, 6)})
        self._metrics.reconciles.labels(self.name, result).inc()
        self._metrics.reconcile_seconds.labels(self.name).observe(seconds)
        if result in {"error", "terminal"}:
            self._metrics.reconcile_errors.labels(self.name).inc()

    async def _attempt(self, key: Key) -> Result:
        try:
            async with asyncio.timeout(self._deadline):
                after = await self._reconcile(key)
        except Waiting as error:
            logger.debug("pass waits", extra={"reason": str(error)})
            self.queue.add_backoff(key, at_least=error.delay)
            return "waiting"
        except Terminal as error:
            logger.warning("pass refused", extra={"reason": str(error)})
            self._settle(key, None)
            return "terminal"
        except Transient as error:
            self._back_off(key, str(error), error.retry_after or 0.0)
            return "error"
        except TimeoutError:
            self._back_off(key, f"not done within {self._deadline:.0f} s")
            return "error"
        except Exception:
            logger.exception("pass crashed")
            self._back_off(key, "crashed")
            return "error"
        self._settle(key, after)
        return "success" if after in {None, NEVER} else "requeue_after"

    def _settle(self, key: Key, after: float | None) -> None:
        self.queue.forget(key)
        if after == NEVER:
            return
        resync = self._resync * (0.8 + 0.4 * self._rng())
        self.queue.add_after(key, resync if after is None else min(after, resync))

    def _back_off(self, key: Key, reason: str, at_least: float = 0.0) -> None:
        delay = self.queue.add_backoff(key, at_least=at_least)
        logger.warning("pass failed", extra={"reason": reason, "retry_in": round(delay, 1)})
