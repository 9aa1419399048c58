"""Kopf: signs in, watches our own kinds, handles signals. Its handlers only record and enqueue.

Kopf never notices deletions that happen while a watch is broken, and does not look at objects again by
itself. So the store that it feeds is also made equal to a full list, at the start and every ten minutes.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn

import kopf
from typing_extensions import override

from modelyard.controller.engine.backoff import backoff
from modelyard.controller.engine.credentials import Credentials
from modelyard.controller.engine.informer import FIRST_DELAY, LAST_DELAY, relist
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.store import Store

logger = logging.getLogger(__name__)

FINALIZER = "modelyard.dev/operator"

RELIST_SECONDS = 600.0
"""The longest time between two full lists."""


class Relister:
    """Makes a store equal to a full list, at once and then every ten minutes.

    Args:
        client: the API.
        store: what is made equal.
        metrics: what is counted.
        namespace: one namespace, all when None.
        interval: the longest time between two lists in seconds.
        rng: a source of numbers in [0, 1), for jitter.

    Attributes:
        synced: set once the first list is in the store.
        last_event: when the server last answered, on the clock of `time.monotonic`.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        metrics: Metrics,
        *,
        namespace: str | None = None,
        interval: float = RELIST_SECONDS,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.store = store
        self.synced = asyncio.Event()
        self.last_event = time.monotonic()
        self._client = client
        self._metrics = metrics
        self._namespace = namespace
        self._interval = interval
        self._rng = rng

    async def run(self) -> NoReturn:
        """Lists until cancelled."""
        failures = 0
        while True:
            try:
                await self._list()
                failures = 0
                delay = self._interval * (1 - self._rng() / 4)
            except ApiError as error:
                failures += 1
                kind = self.store.resource.kind
                self._metrics.cache_errors.labels(kind).inc()
                logger.warning("list failed", extra={"watched": kind, "error": str(error)})
                delay = backoff(failures, first=FIRST_DELAY, last=LAST_DELAY, rng=self._rng)
            await asyncio.sleep(delay)

    async def _list(self) -> None:
        kind = self.store.resource.kind
        is_first = not self.synced.is_set()
        self._metrics.cache_relists.labels(kind, "start" if is_first else "interval").inc()
        _, changes = await relist(self._client, self.store, namespace=self._namespace)
        if not is_first:
            self._metrics.cache_missed.labels(kind).inc(changes)
        self.last_event = time.monotonic()
        self.synced.set()


class _NullDiffBase(kopf.DiffBaseStorage):
    """Keeps no copy of objects in their annotations: we compare with children, not with the past."""

    @override
    def fetch(self, *, body: kopf.Body) -> None:
        return None

    @override
    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return None


async def run_kopf(
    stores: Iterable[Store],
    credentials: Credentials,
    *,
    namespaces: Iterable[str],
    identity: str,
    stop: asyncio.Event,
    on_stop: Callable[[], Awaitable[None]],
    drain_seconds: float,
) -> None:
    """Watches the kinds of `stores` until SIGTERM, SIGINT or `stop`.

    Args:
        stores: what events are recorded in; their listeners enqueue.
        credentials: how to sign in.
        namespaces: which ones to watch; all when empty.
        identity: what this replica calls itself.
        stop: ends the watching when set.
        on_stop: awaited once the watches have ended, before this returns.
        drain_seconds: how long `on_stop` may take.
    """
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    _configure(settings, drain_seconds)
    for store in stores:
        _record_events(registry, store)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(credentials)

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await on_stop()

    names = tuple(namespaces)
    await kopf.operator(
        registry=registry,
        settings=settings,
        clusterwide=not names,
        namespaces=names,
        standalone=True,
        # Kopf would look up the name of the user, which a uid without an entry in /etc/passwd has not.
        identity=identity,  # type: ignore[arg-type]  # a str to Kopf, under a name that it does not export
        stop_flag=stop,
    )


def _record_events(registry: kopf.OperatorRegistry, store: Store) -> None:
    resource = store.resource

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)
    async def record(event: Mapping[str, Any], **_: Any) -> None:
        # The type is None for what the first list has.
        manifest: Manifest = {**event["object"]}
        if event["type"] == "DELETED":
            store.remove(manifest)
        else:
            store.put(manifest)


def _configure(settings: kopf.OperatorSettings, drain_seconds: float) -> None:
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 600
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    # A control plane may be away for minutes: waiting is better than a restart with cold caches.
    settings.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, 21, 34, 34, 34, 34)
    # Kopf keeps a worker for each object that changed in this time, and waits for all of them when it stops; only
    # then is the Lease released. Our handlers only record, so nothing is gained by keeping them.
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = drain_seconds
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="modelyard.dev", v1=False)
    settings.persistence.diffbase_storage = _NullDiffBase()


async def _connection(credentials: Credentials) -> kopf.ConnectionInfo:
    scheme, _, token = (await credentials.authorization() or "").partition(" ")
    certificate, key = credentials.certificate_files or (None, None)
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_file,
        insecure=not credentials.verify,
        scheme=scheme or None,
        token=token or None,
        certificate_path=certificate,
        private_key_path=key,
        proxy_url=credentials.proxy,
    )
