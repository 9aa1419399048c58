"""Keeps a store equal to what the API server has, by a list, a watch, and a new list when the watch breaks."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import NoReturn

from modelyard.controller.engine.backoff import backoff
from modelyard.controller.engine.kube import PAGE_LIMIT, ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.store import Store

logger = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 0.5, 30.0
"""The bounds of the wait after a failure, in seconds."""

SERVER_TIMEOUT = 300.0
"""The shortest time after which the server is asked to end a watch, in seconds; the longest is twice that."""

INACTIVITY_TIMEOUT = 150.0
"""Silence after which a watch is taken for dead, in seconds; bookmarks come every minute."""


async def relist(
    client: KubeClient, store: Store, *, namespace: str | None = None, label_selector: str = ""
) -> tuple[str, int]:
    """Makes a store equal to a full list, so that deletions that no watch told of are found.

    Returns:
        The list's resource version and the number of changes.

    Raises:
        ApiError: the list could not be had; the store is as before.
    """
    try:
        items, version = await _list(client, store, namespace, label_selector, PAGE_LIMIT)
    except ApiError as error:
        if not error.gone:
            raise
        items, version = await _list(client, store, namespace, label_selector, 0)
    return version, store.replace(items, int(version), namespace)


async def _list(
    client: KubeClient, store: Store, namespace: str | None, label_selector: str, limit: int
) -> tuple[list[Manifest], str]:
    items: list[Manifest] = []
    version = "0"
    pages = client.list_pages(store.resource, namespace, label_selector=label_selector, limit=limit)
    async for page in pages:
        items.extend(store.transform(item) for item in page.items)
        version = page.resource_version
    return items, version


class Informer:
    """Follows the objects of one kind, in one namespace or all.

    Args:
        client: the API.
        store: what is kept equal; its listeners hear of every change.
        metrics: what is counted.
        namespace: one namespace, all when None.
        label_selector: which objects.
        inactivity_timeout: seconds of silence after which a watch is taken for dead.
        first_delay: seconds to wait after the first failure.
        rng: a source of numbers in [0, 1), for jitter.

    Attributes:
        synced: set once the first list is in the store.
        last_event: when the server last said anything, on the clock of `time.monotonic`.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        metrics: Metrics,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        inactivity_timeout: float = INACTIVITY_TIMEOUT,
        first_delay: float = FIRST_DELAY,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.store = store
        self.synced = asyncio.Event()
        self.last_event = time.monotonic()
        self._client = client
        self._metrics = metrics
        self._namespace = namespace
        self._label_selector = label_selector
        self._inactivity_timeout = inactivity_timeout
        self._first_delay = first_delay
        self._rng = rng
        self._failures = 0
        self._version: str | None = None
        self._reason = "start"

    async def run(self) -> NoReturn:
        """Follows until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except ApiError as error:
                self._failed(error)
            self._failures += 1
            await asyncio.sleep(backoff(self._failures, first=self._first_delay, last=LAST_DELAY, rng=self._rng))

    async def _list(self) -> None:
        self._metrics.cache_relists.labels(self.store.resource.kind, self._reason).inc()
        self._version, _ = await relist(
            self._client, self.store, namespace=self._namespace, label_selector=self._label_selector
        )
        self._heard()
        self.synced.set()

    async def _watch(self) -> None:
        events = self._client.watch(
            self.store.resource,
            self._namespace,
            resource_version=self._version or "",
            label_selector=self._label_selector,
            server_timeout=SERVER_TIMEOUT * (1 + self._rng()),
            inactivity_timeout=self._inactivity_timeout,
        )
        async for event in events:
            if event.type == "DELETED":
                self.store.remove(event.manifest)
            elif event.type != "BOOKMARK":
                self.store.put(event.manifest)
            self._version = event.manifest["metadata"]["resourceVersion"]
            self._heard()

    def _failed(self, error: ApiError) -> None:
        kind = self.store.resource.kind
        self._metrics.cache_errors.labels(kind).inc()
        logger.warning("watch failed", extra={"watched": kind, "error": str(error)})
        if error.gone or error.silent:
            self._version, self._reason = None, "expired" if error.gone else "silence"

    def _heard(self) -> None:
        self.last_event = time.monotonic()
        self._failures = 0
