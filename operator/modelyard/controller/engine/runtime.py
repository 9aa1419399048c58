"""Puts the parts together; `main.py` says which kinds there are.

    settings = load_settings(os.environ, sys.argv[1:])
    runtime = Runtime(settings, [TRAINING_RUNS, MODEL_VERSIONS, JOBS, CONFIG_MAPS])
    runs = runtime.serve(TRAINING_RUNS)
    jobs = runtime.cache(JOBS, label_selector="app.kubernetes.io/managed-by=modelyard", indices={"owner": owner_uids})

    async def plan(run: Manifest) -> Plan:
        return decide(await observe(run, runtime.client, jobs))

    runtime.reconcile(runs, plan, triggers=[Trigger(jobs, controller_keys("TrainingRun"))])
    sys.exit(runtime.run())

`serve` gives the store of a kind of ours, which Kopf watches; `cache` that of anything else. `plan` is called with
an object of the store, at most once at a time for each, while this replica leads and all stores are filled. What it
returns is carried out by `Writer`; what it raises is handled as `errors` says, an `ApiError` like one of a write.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import uvloop
from prometheus_client import CollectorRegistry

from modelyard.controller.engine.apply import Writer, fault_of
from modelyard.controller.engine.conditions import find_condition
from modelyard.controller.engine.credentials import Credentials
from modelyard.controller.engine.election import LEASES, Elector, LeadershipLost, LeaseTiming
from modelyard.controller.engine.events import EVENTS, Recorder
from modelyard.controller.engine.health import Health, Pulse, deafness, stuckness
from modelyard.controller.engine.informer import Informer
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.kopf_shell import RELIST_SECONDS, Relister, run_kopf
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.logs import bound, configure_logging
from modelyard.controller.engine.manifests import (
    Manifest,
    ResourceType,
    TypeTable,
    is_deleting,
    name_of,
    namespace_of,
    uid_of,
)
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.queue import WorkQueue
from modelyard.controller.engine.reconcile import NEVER, Controller, Reconcile
from modelyard.controller.engine.settings import Settings
from modelyard.controller.engine.store import IndexFunction, Listener, Store, Stores, Transform, prune

logger = logging.getLogger(__name__)

FIELD_MANAGER = "modelyard-operator"

KeysOf = Callable[[Manifest], Iterable[Key]]


@dataclass(frozen=True)
class Trigger:
    """Objects whose changes cause passes: `keys_of` is asked for the old and for the new object."""

    store: Store
    keys_of: KeysOf


def controller_keys(kind: str) -> KeysOf:
    """Maps a child to the object of this kind that controls it."""

    def keys_of(child: Manifest) -> Iterable[Key]:
        for reference in child["metadata"].get("ownerReferences", ()):
            if reference.get("controller") and reference["kind"] == kind:
                yield Key(kind, namespace_of(child), reference["name"])

    return keys_of


class Runtime:
    """The operator's process: one client, caches, a controller for each kind, election, probes, and Kopf.

    Args:
        settings: what we are told from outside.
        resources: all kinds that are read or written, so that the client knows where they live.

    Attributes:
        client: the API, for what `plan` functions read beside the caches.
        metrics: what is counted.
    """

    def __init__(self, settings: Settings, resources: Iterable[ResourceType]) -> None:
        configure_logging(settings.log_level, settings.log_format)
        self.metrics = Metrics(CollectorRegistry())
        self._credentials = Credentials(settings.kubeconfig)
        self.client = KubeClient(
            self._credentials,
            TypeTable.of(*resources, LEASES, EVENTS),
            on_request=self.metrics.count_request,
        )
        self._settings = settings
        self._stores = Stores()
        self._served: list[Store] = []
        self._followers: list[Informer | Relister] = []
        self._controllers: list[Controller] = []
        self._health = Health(self.metrics.registry)
        self._pulse = Pulse(self.metrics)
        self._stop = asyncio.Event()
        self._failed = False
        self._elector = Elector(
            self.client,
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=settings.identity,
            timing=LeaseTiming(
                duration=settings.lease_duration_seconds,
                renew_deadline=settings.lease_renew_deadline_seconds,
                retry=settings.lease_retry_seconds,
            ),
        )
        self._writer = Writer(
            self.client,
            field_manager=FIELD_MANAGER,
            stores=self._stores,
            recorder=Recorder(self.client, component=FIELD_MANAGER, instance=settings.identity),
            may_write=self._elector.is_leader,
        )
        leader = self.metrics.leader.labels(settings.lease_name)
        leader.set_function(lambda: float(self._elector.is_leader()))

    def serve(self, resource: ResourceType, *, indices: Mapping[str, IndexFunction] | None = None) -> Store:
        """The store of a kind of ours, which Kopf watches."""
        store = Store(resource, indices=indices)
        self._served.append(store)
        self.metrics.count_resources(resource.kind, lambda: _count_by_ready(store))
        relisters = [
            Relister(self.client, store, self.metrics, namespace=namespace)
            for namespace in self._namespaces_of(resource)
        ]
        self._follow(store, relisters, RELIST_SECONDS + self._settings.deaf_seconds)
        return store

    def cache(
        self,
        resource: ResourceType,
        *,
        label_selector: str = "",
        indices: Mapping[str, IndexFunction] | None = None,
        transform: Transform = prune,
    ) -> Store:
        """The store of any other kind, or of those of its objects that a label selector names."""
        store = Store(resource, indices=indices, transform=transform)
        informers = [
            Informer(self.client, store, self.metrics, namespace=namespace, label_selector=label_selector)
            for namespace in self._namespaces_of(resource)
        ]
        self._follow(store, informers, self._settings.deaf_seconds)
        return store

    def reconcile(
        self,
        store: Store,
        plan: Callable[[Manifest], Awaitable[Plan]],
        *,
        triggers: Iterable[Trigger] = (),
    ) -> None:
        """Keeps all objects of `store` as `plan` says, each time when they or a trigger's objects change."""
        controller = Controller(
            store.resource.kind.lower(),
            self._pass_of(store, plan),
            self.metrics,
            workers=self._settings.workers,
            deadline=self._settings.pass_deadline_seconds,
            resync=self._settings.resync_seconds,
        )
        self._controllers.append(controller)
        limit = 2.0 * self._settings.pass_deadline_seconds
        self._health.add_liveness(
            f"{controller.name} workers", lambda: stuckness(controller.queue.longest_running, limit)
        )
        for trigger in (Trigger(store, _own_key), *triggers):
            trigger.store.subscribe(enqueue(controller.queue, trigger.keys_of))

    async def execute(self, parent: Manifest, plan: Plan) -> float | None:
        """Carries out a plan within a pass, so that other passes can wait for its writes; see `Writer`."""
        return await self._writer.execute(parent, plan)

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; returns the exit status."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())
        return 1 if self._failed else 0

    async def _main(self) -> None:
        port = await self._health.start(self._settings.bind_address, self._settings.port)
        logger.info("operator starts", extra={"identity": self._settings.identity, "port": port})
        election = self._start(self._elector.run())
        tasks = [election, *map(self._start, (self._pulse.run(), self._work()))]
        tasks += [self._start(follower.run()) for follower in self._followers]
        try:
            await self._watch(election)
        except Exception:
            logger.critical("kopf fails", exc_info=True)
            self._failed = True
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._health.stop()
            await self.client.close()
            logger.info("operator ends")

    async def _watch(self, election: asyncio.Task[None]) -> None:
        """Runs Kopf, once the API server answers and has all our kinds: Kopf looks for them only at its start."""
        filled = asyncio.create_task(self._filled())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait([filled, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (filled, stopped):
            task.cancel()
        await run_kopf(
            self._served,
            self._credentials,
            namespaces=self._settings.watch_namespaces,
            identity=self._settings.identity,
            stop=self._stop,
            on_stop=lambda: self._drain(election),
            drain_seconds=self._settings.drain_seconds,
        )

    async def _filled(self) -> None:
        for follower in self._followers:
            await follower.synced.wait()

    async def _work(self) -> None:
        await self._filled()
        logger.info("caches are filled")
        await self._elector.leading.wait()
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(controller.run())

    async def _drain(self, election: asyncio.Task[None]) -> None:
        """Lets running passes end, and only then the next leader begin."""
        deadline = self._settings.drain_seconds
        drained = await asyncio.gather(*(controller.queue.shutdown(deadline) for controller in self._controllers))
        if not all(drained):
            logger.warning("passes did not end in time")
            return
        election.cancel()
        await asyncio.gather(election, return_exceptions=True)
        await self._elector.release()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs a task of the process: its failure ends the operator, and so does the loss of leadership."""

        async def guarded() -> None:
            try:
                await work
            except LeadershipLost as error:
                logger.critical("leadership is lost", extra={"reason": str(error)})
                _exit_at_once()
            except Exception:
                logger.critical("operator fails", exc_info=True)
                self._failed = True
                self._stop.set()

        return asyncio.create_task(guarded())

    def _pass_of(self, store: Store, plan: Callable[[Manifest], Awaitable[Plan]]) -> Reconcile:
        async def reconcile(key: Key) -> float | None:
            manifest = store.get(key.namespace, key.name)
            if manifest is None or is_deleting(manifest):
                return NEVER
            with bound(uid=uid_of(manifest), generation=manifest["metadata"]["generation"]):
                try:
                    asked = await plan(manifest)
                except ApiError as error:
                    raise fault_of(error) from error
                return await self._writer.execute(manifest, asked)

        return reconcile

    def _follow(self, store: Store, followers: Sequence[Informer] | Sequence[Relister], deaf_after: float) -> None:
        kind = store.resource.kind

        def silence() -> float:
            return time.monotonic() - min(follower.last_event for follower in followers)

        def is_filled() -> bool:
            return all(follower.synced.is_set() for follower in followers)

        self._stores.add(store)
        self._followers.extend(followers)
        self.metrics.watch_cache(kind, age=silence, objects=lambda: store.size)
        self._health.add_liveness(f"{kind} watch", lambda: deafness(silence(), deaf_after))
        self._health.add_readiness(f"{kind} cache", lambda: None if is_filled() else "not filled yet")

    def _namespaces_of(self, resource: ResourceType) -> tuple[str | None, ...]:
        return (self._settings.watch_namespaces if resource.namespaced else ()) or (None,)


def _own_key(manifest: Manifest) -> Iterable[Key]:
    return (Key(manifest["kind"], namespace_of(manifest), name_of(manifest)),)


def enqueue(queue: WorkQueue, keys_of: KeysOf) -> Listener:
    """Asks for passes of what an object belonged to before a change, and of what it belongs to after it."""

    def listener(old: Manifest | None, new: Manifest | None) -> None:
        for manifest in (old, new):
            try:
                for key in keys_of(manifest) if manifest else ():
                    queue.add(key)
            except Exception:
                # One odd object must not stop the watch of all others.
                logger.exception("object not understood")

    return listener


def _count_by_ready(store: Store) -> Mapping[str, int]:
    return Counter(_ready_of(manifest) for manifest in store.all())


def _ready_of(manifest: Manifest) -> str:
    ready = find_condition((manifest.get("status") or {}).get("conditions", ()), "Ready")
    return str(ready["status"]) if ready else "Unknown"


def _exit_at_once() -> NoReturn:
    """Ends the process without another step of any pass, since a new leader may be at work."""
    logging.shutdown()
    os._exit(1)
