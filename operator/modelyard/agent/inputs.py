"""What inputs are, asked of the store by few at once, once for all who want to know at the same time."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from modelyard.agent.breaker import Breaker
from modelyard.agent.lookout import Lookout
from modelyard.agent.metrics import Metrics
from modelyard.agent.sightings import SeenInput
from modelyard.storage.errors import StorageError

P = ParamSpec("P")
T = TypeVar("T")

LISTERS: Final = 4
"""Sources that are listed at once."""
_STORE: Final = re.compile(r"([a-z0-9+]+://[^/]*)")


class Inputs:
    """Looks at inputs for runs and Pipelines alike."""

    def __init__(self, lookout: Lookout, metrics: Metrics, readers: ThreadPoolExecutor, reads: int) -> None:
        """Start nothing yet.

        Args:
            lookout: reads the store.
            metrics: counts looks.
            readers: threads in which bytes are hashed.
            reads: how many inputs are hashed at once.
        """
        self._lookout = lookout
        self._metrics = metrics
        self._readers = readers
        self._listers = ThreadPoolExecutor(LISTERS, "lister")
        self._listing = asyncio.Semaphore(LISTERS)
        self._reading = asyncio.Semaphore(reads)
        self._breakers: dict[str, Breaker] = {}
        self._looks: dict[str, asyncio.Task[SeenInput]] = {}

    async def look(self, uri: str) -> SeenInput:
        """Return what an input is; its bytes are read unless the store says of it what it said before.

        Raises:
            StorageError: it cannot be read, or its store is known not to answer.
        """
        look = self._looks.get(uri)
        if look is None:
            look = self._looks[uri] = asyncio.create_task(self._look(uri))
            look.add_done_callback(partial(self._ended, uri))
        return await asyncio.shield(look)

    def remember(self, uri: str, seen: SeenInput) -> None:
        """Take over what an earlier agent saw."""
        self._lookout.remember(uri, seen)

    def retry_seconds(self, uri: str) -> float:
        """Return how long the store of an input is not asked, since it does not answer; 0 = it is."""
        return self._breaker(uri).retry_seconds

    async def _look(self, uri: str) -> SeenInput:
        breaker = self._breaker(uri)
        try:
            # Whoever waits for a turn asks the breaker after it, so that an outage stops a queue.
            async with self._listing:
                listing = await breaker.call(partial(in_thread, self._listers, self._lookout.list_input, uri))
            seen = self._lookout.known(listing)
            if seen is None:
                async with self._reading:
                    seen = await breaker.call(partial(in_thread, self._readers, self._lookout.read, listing))
        except StorageError as error:
            self._metrics.looks.labels(what="input", reason=error.reason).inc()
            raise
        self._metrics.looks.labels(what="input", reason="").inc()
        return seen

    def _breaker(self, uri: str) -> Breaker:
        match = _STORE.match(uri)
        store = match[1] if match else uri
        if store not in self._breakers:
            self._breakers[store] = Breaker(store)
        return self._breakers[store]

    def _ended(self, uri: str, look: "asyncio.Task[SeenInput]") -> None:
        del self._looks[uri]
        if not look.cancelled():
            look.exception()  # whoever asked may be gone, and nobody else wants to hear of it


async def in_thread(pool: ThreadPoolExecutor | None, function: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
    """Call a blocking function in a thread of a pool; None = the event loop's own."""
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
