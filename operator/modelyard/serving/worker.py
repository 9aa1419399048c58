"""One thread for what would hold up the event loop."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Worker:
    """Runs jobs one after the other. The thread is a daemon: a job that never ends does not keep the process alive.

    Attributes:
        pending: Jobs handed over and not finished; the caller bounds them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = queue.SimpleQueue()
        self._since: float | None = None
        self.pending = 0
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Queue a job and return the future of its result."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.pending += 1
        self._jobs.put((job, future))
        return future

    def running_seconds(self) -> float:
        """For how long the present job has been running, 0 when there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _work(self) -> None:
        while True:
            job, future = self._jobs.get()
            self._since = time.monotonic()
            result, error = None, None
            try:
                result = job()
            except Exception as raised:  # noqa: BLE001 - it is the future's to raise
                error = raised
            self._since = None
            try:
                self._loop.call_soon_threadsafe(self._deliver, future, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _deliver(self, future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
        self.pending -= 1
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
