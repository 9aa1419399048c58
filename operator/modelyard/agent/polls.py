"""Looks at the inputs of Pipelines again and again: each uri once an interval, for all Pipelines that watch it."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from modelyard.agent.inputs import Inputs
from modelyard.agent.sightings import Sighting, error
from modelyard.storage.errors import StorageError, StoreUnreachable

SPREAD_SECONDS: Final = 30.0
"""After a start, the first looks at what is known already are spread over this time."""
_LEAST_SECONDS: Final = 1.0
_LOG: Final = logging.getLogger(__name__)


@dataclass
class _Poll:
    """One uri that is looked at."""

    uri: str
    sighting: Sighting
    subscribers: dict[str, float] = field(default_factory=dict)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once there is something to say."""
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the interval has changed."""

    @property
    def seconds(self) -> float:
        return min(self.subscribers.values())


class Polls:
    """All uris that are looked at."""

    def __init__(self, inputs: Inputs, changed: Callable[[str], None]) -> None:
        """Look at nothing yet.

        Args:
            inputs: looks.
            changed: told the name of every subscriber of a uri of which there is news.
        """
        self._inputs = inputs
        self._changed = changed
        self._polls: dict[str, _Poll] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def subscribe(self, subscriber: str, wanted: Iterable[str], seconds: float, known: Mapping[str, Sighting]) -> None:
        """Look at these uris, and at no others for this subscriber.

        Args:
            subscriber: name of who wants to know.
            wanted: uris.
            seconds: how often to look.
            known: what an earlier agent saw of uris.
        """
        wanted = set(wanted)
        for uri in wanted:
            poll = self._polls.get(uri) or self._start(uri, known.get(uri, Sighting()))
            if poll.subscribers.get(subscriber) != seconds:
                poll.subscribers[subscriber] = seconds
                poll.hurried.set()
        for uri in [uri for uri, poll in self._polls.items() if subscriber in poll.subscribers and uri not in wanted]:
            self._leave(uri, subscriber)

    def unsubscribe(self, subscriber: str) -> None:
        """Look at nothing any more for this subscriber."""
        self.subscribe(subscriber, (), 0, {})

    async def wait_for_first(self, uris: Iterable[str], seconds: float) -> None:
        """Wait until there is something to say of each of these uris, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for uri in uris:
                    await self._polls[uri].looked.wait()

    def get(self, uri: str) -> Sighting:
        """Return what is known of a uri that is looked at."""
        return self._polls[uri].sighting

    def _start(self, uri: str, sighting: Sighting) -> _Poll:
        poll = self._polls[uri] = _Poll(uri, sighting)
        if sighting.seen:
            self._inputs.remember(uri, sighting.seen)
            poll.looked.set()
        self._tasks[uri] = asyncio.create_task(self._run(poll))
        return poll

    def _leave(self, uri: str, subscriber: str) -> None:
        del self._polls[uri].subscribers[subscriber]
        if not self._polls[uri].subscribers:
            del self._polls[uri]
            self._tasks.pop(uri).cancel()

    async def _run(self, poll: _Poll) -> None:
        if poll.sighting.seen:
            await asyncio.sleep(random.uniform(0, min(SPREAD_SECONDS, poll.seconds)))  # noqa: S311 - no secret
        while True:
            began = time.monotonic()
            sighting = await self._sight(poll)
            poll.looked.set()
            if sighting != poll.sighting:
                poll.sighting = sighting
                for subscriber in list(poll.subscribers):
                    self._changed(subscriber)
            await self._pause(poll, began)

    async def _sight(self, poll: _Poll) -> Sighting:
        try:
            return Sighting(await self._inputs.look(poll.uri))
        except StorageError as failure:
            return Sighting(poll.sighting.seen, error(failure.reason, str(failure)))
        except Exception:  # noqa: BLE001 - one odd input must not keep the others from being looked at
            _LOG.exception("%s: a defect of the agent; looking again", poll.uri)
            return poll.sighting

    async def _pause(self, poll: _Poll, began: float) -> None:
        """Wait until the next look is due: soon after its store may be asked again, else an interval after the last."""
        share = random.uniform(0.9, 1.0)  # noqa: S311 - jitter
        while True:
            poll.hurried.clear()
            due = began + max(_LEAST_SECONDS, poll.seconds * share)
            if (poll.sighting.error or {}).get("reason") == StoreUnreachable.reason:
                due = min(due, time.monotonic() + max(_LEAST_SECONDS, self._inputs.retry_seconds(poll.uri)) / share)
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + due - time.monotonic()):
                    await poll.hurried.wait()
            except TimeoutError:
                return
