"""A local copy of one resource, kept by list and watch."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from modelyard.agent.kube import ApiError, Page
from modelyard.agent.metrics import Metrics
from modelyard.storage.retry import delays

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)


class ListWatch(Protocol):
    """The two calls that a mirror needs; both raise ApiError."""

    async def list(self, plural: str) -> Page:
        """Return all objects of a resource."""

    def watch(self, plural: str, resource_version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield (type, object) of changes since a version."""


class Mirror(Generic[T]):
    """What is known of every object of a resource. Only what `read` keeps of an object stays in memory."""

    def __init__(
        self,
        kube: ListWatch,
        plural: str,
        read: Callable[[dict[str, Any]], T | None],
        changed: Callable[[str], None],
        metrics: Metrics,
    ) -> None:
        """Start with nothing.

        Args:
            kube: the API.
            plural: the resource.
            read: what to keep of an object; None = nothing.
            changed: told the name of every object whose kept part appears, changes or goes.
            metrics: counts lists.
        """
        self._kube = kube
        self._plural = plural
        self._read = read
        self._changed = changed
        self._metrics = metrics
        self._objects: dict[str, T] = {}
        self.synced = asyncio.Event()

    def get(self, name: str) -> T | None:
        """Return what is kept of an object."""
        return self._objects.get(name)

    def set(self, name: str, value: T | None) -> None:
        """Keep a newer part than the watch has brought yet."""
        if value is None:
            self._objects.pop(name, None)
        else:
            self._objects[name] = value

    async def run(self) -> None:
        """List and watch until cancelled; any failure leads to a new list, after a pause."""
        pauses = delays(first=1.0, longest=30.0)
        while True:
            try:
                version = await self._list()
                pauses = delays(first=1.0, longest=30.0)
                while True:
                    version = await self._watch(version)
            except ApiError as error:
                _LOG.warning("%s: %s; listing again", self._plural, error)
                await asyncio.sleep(next(pauses))

    async def _list(self) -> str:
        page = await self._kube.list(self._plural)
        self._metrics.lists.labels(resource=self._plural).inc()
        found = {item["metadata"]["name"]: self._read(item) for item in page.items}
        for name in self._objects.keys() - found.keys():
            self._update(name, None)
        for name, value in found.items():
            self._update(name, value)
        self.synced.set()
        return page.resource_version

    async def _watch(self, version: str) -> str:
        async for kind, item in self._kube.watch(self._plural, version):
            version = item["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                self._update(item["metadata"]["name"], None if kind == "DELETED" else self._read(item))
        return version

    def _update(self, name: str, value: T | None) -> None:
        if value != self._objects.get(name):
            self.set(name, value)
            self._changed(name)
