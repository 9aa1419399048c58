"""Every call of a pass fails in every way once, and the outcome is the same."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from modelyard.controller.engine.apply import Writer
from modelyard.controller.engine.conditions import is_true
from modelyard.controller.engine.credentials import Credentials
from modelyard.controller.engine.errors import ReconcileError
from modelyard.controller.engine.events import EVENTS, Recorder
from modelyard.controller.engine.informer import Informer
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest, TypeTable, ref_of
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.store import Store, Stores
from tests.support.controlplane import ClusterAccess
from tests.support.eventually import eventually
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.widgets import CONFIG_MAPS, JOBS, TYPES, WIDGETS, config_map, decide, widget

pytestmark = pytest.mark.cluster

CALLS_OF_A_PASS = 8
"""Reads included: widget, job, config map (twice), status, event, and one to spare."""
MOST_PASSES = 6


@pytest.fixture
def proxy(widget_plane: ClusterAccess, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(widget_plane, tmp_path) as proxy:
        yield proxy


@asynccontextmanager
async def client_of(proxy: FaultProxy, seconds: float = 10) -> AsyncIterator[KubeClient]:
    types = TypeTable.of(*TYPES, EVENTS)
    async with KubeClient(Credentials(str(proxy.kubeconfig)), types, timeout=seconds) as client:
        yield client


async def attempt(client: KubeClient, writer: Writer, namespace: str) -> bool:
    """One pass of an operator that has just been started; whether it ended well."""
    try:
        parent = await client.get(WIDGETS, namespace, "one")
        await writer.execute(parent, decide(parent))
    except (ApiError, ReconcileError):
        return False
    return True


@pytest.mark.parametrize("fault", [409, 429, 500, "dropped", "lost"])
async def test_writer_converges_whichever_call_fails(
    client: KubeClient, proxy: FaultProxy, namespace: str, fault: Fault
) -> None:
    for nth in range(1, CALLS_OF_A_PASS + 1):
        created = await client.create(widget(namespace, "one"), field_manager="person")
        proxy.heal()
        proxy.fail("*", "", fault, nth=nth)
        async with client_of(proxy) as faulty:
            recorder = Recorder(faulty, component="engine-test", instance="test")
            writer = Writer(faulty, field_manager="engine-test", stores=Stores(), recorder=recorder)
            for _ in range(MOST_PASSES):
                if await attempt(faulty, writer, namespace):
                    break
        await assert_converged(client, namespace, created)
        for resource, name in ((WIDGETS, "one"), (CONFIG_MAPS, "one"), (JOBS, "one-1")):
            await client.delete(ref_of(await client.get(resource, namespace, name)))


async def assert_converged(client: KubeClient, namespace: str, created: Manifest) -> None:
    parent = await client.get(WIDGETS, namespace, "one")
    assert parent["metadata"]["uid"] == created["metadata"]["uid"]
    assert is_true(parent["status"]["conditions"], "Ready")
    assert [item["type"] for item in parent["status"]["conditions"]] == ["Ready"]
    jobs = [item async for page in client.list_pages(JOBS, namespace) for item in page.items]
    assert [item["metadata"]["name"] for item in jobs] == ["one-1"]
    assert (await client.get(CONFIG_MAPS, namespace, "one"))["data"] == {"text": "hello"}


async def test_client_gives_up_on_a_silent_server(proxy: FaultProxy, namespace: str) -> None:
    proxy.fail("GET", "/widgets", "silent")
    async with client_of(proxy, seconds=0.3) as client:
        with pytest.raises(ApiError) as error:
            await client.get(WIDGETS, namespace, "one")
    assert error.value.silent
    assert error.value.transient


async def test_informer_sees_what_was_deleted_while_it_could_not_watch(
    client: KubeClient, proxy: FaultProxy, namespace: str
) -> None:
    parent = await client.create(widget(namespace, "one"), field_manager="person")
    made = await client.create(config_map(parent, "x"), field_manager="person")
    async with client_of(proxy) as watcher:
        store = Store(CONFIG_MAPS)
        informer = Informer(watcher, store, Metrics(CollectorRegistry()), namespace=namespace, first_delay=0.05)
        task = asyncio.create_task(informer.run())
        async with asyncio.timeout(20):
            await informer.synced.wait()
            assert store.get(namespace, "one") is not None
            proxy.fail("GET", "watch=true", 503, nth=1, times=3)
            proxy.fail("GET", "watch=true", 410, nth=1)
            proxy.cut_watches()
            await client.delete(ref_of(made))
            await eventually(lambda: store.get(namespace, "one") is None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
