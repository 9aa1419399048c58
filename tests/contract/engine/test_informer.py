import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from modelyard.controller.engine.informer import Informer
from modelyard.controller.engine.kube import KubeClient
from modelyard.controller.engine.manifests import Manifest, name_of
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.store import Store
from tests.support.eventually import eventually
from tests.support.fake_kube import FakeKube, failure
from tests.support.widgets import CONFIG_MAPS

PATH = "/api/v1/namespaces/a/configmaps"


def config_map(name: str, text: str = "x") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "a", "name": name},
        "data": {"text": text},
    }


class Follower:
    """A running informer and what its store told."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.store = informer.store
        self.told: list[tuple[str, str]] = []
        self.store.subscribe(self._note)

    def _note(self, old: Manifest | None, new: Manifest | None) -> None:
        change = "added" if old is None else "deleted" if new is None else "changed"
        self.told.append((change, name_of(new or old or {})))

    def names(self) -> set[str]:
        return {name_of(item) for item in self.store.all()}

    async def synced(self) -> None:
        async with asyncio.timeout(10):
            await self.informer.synced.wait()


@pytest.fixture
async def follower(client: KubeClient, metrics: Metrics) -> AsyncIterator[Follower]:
    informer = Informer(client, Store(CONFIG_MAPS), metrics, namespace="a", inactivity_timeout=0.3, first_delay=0.01)
    task = asyncio.create_task(informer.run())
    yield Follower(informer)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def relists(registry: CollectorRegistry, reason: str) -> float:
    labels = {"kind": "ConfigMap", "reason": reason}
    return registry.get_sample_value("modelyard_cache_relists_total", labels) or 0.0


async def test_informer_lists_in_pages_and_then_watches(fake: FakeKube, follower: Follower) -> None:
    for number in range(1201):
        fake.put(PATH, config_map(f"c{number}"))
    await follower.synced()
    assert follower.store.size == 1201
    assert fake.requests[:3] == [("GET", PATH)] * 3

    fake.put(PATH, config_map("new"))
    fake.put(PATH, config_map("c1", "changed"))
    fake.delete(f"{PATH}/c2")
    await eventually(lambda: follower.told[-1] == ("deleted", "c2"))
    assert follower.told[1201:] == [("added", "new"), ("changed", "c1"), ("deleted", "c2")]


async def test_informer_synthesises_deletions_that_it_missed(
    fake: FakeKube, follower: Follower, registry: CollectorRegistry
) -> None:
    fake.put(PATH, config_map("stays"))
    fake.put(PATH, config_map("goes"))
    await follower.synced()
    fake.fail("GET", "watch=true", 503, times=2)
    fake.delete(f"{PATH}/goes")
    fake.history.pop()
    fake.put(PATH, config_map("comes"))
    fake.history.pop()
    fake.forget_history()

    await eventually(lambda: follower.names() == {"stays", "comes"})
    assert ("deleted", "goes") in follower.told
    assert relists(registry, "expired") == 1


async def test_informer_lists_at_once_when_pages_expire(fake: FakeKube, follower: Follower) -> None:
    for number in range(600):
        fake.put(PATH, config_map(f"c{number}"))
    fake.fail("GET", "continue=500", 410, times=1000)
    await follower.synced()
    assert follower.store.size == 600


async def test_informer_lists_again_when_a_watch_falls_silent(
    fake: FakeKube, follower: Follower, registry: CollectorRegistry
) -> None:
    await follower.synced()
    fake.put(PATH, config_map("unheard"))
    fake.history.pop()
    await eventually(lambda: follower.names() == {"unheard"})
    assert relists(registry, "silence") >= 1


async def test_informer_goes_on_where_it_was_when_a_watch_ends(
    fake: FakeKube, follower: Follower, registry: CollectorRegistry
) -> None:
    await follower.synced()
    fake.cut_watches()
    fake.put(PATH, config_map("new"))
    await eventually(lambda: follower.names() == {"new"})
    assert (relists(registry, "expired"), relists(registry, "start")) == (0, 1)


async def test_informer_backs_off_while_the_server_fails(fake: FakeKube, follower: Follower) -> None:
    fake.fail("GET", PATH, 500, times=5)
    await follower.synced()
    lists = [request for request in fake.requests if request == ("GET", PATH)]
    assert len(lists) < 10


async def test_informer_takes_an_error_in_the_stream_for_a_failure(fake: FakeKube, follower: Follower) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ERROR","object":' + str(failure(500)).replace("'", '"').encode() + b"}\n")
        return response

    fake.fail("GET", "watch=true", broken, times=2)
    await follower.synced()
    fake.put(PATH, config_map("new"))
    await eventually(lambda: follower.names() == {"new"})


async def test_informer_joins_lines_that_arrive_in_pieces(fake: FakeKube, follower: Follower) -> None:
    async def pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        added = config_map("big", "x" * 300_000)
        added["metadata"] |= {"uid": "u", "resourceVersion": "999"}
        line = str({"type": "ADDED", "object": added}).replace("'", '"').encode() + b"\n\n"
        for begin in range(0, len(line), 70_000):
            await response.write(line[begin : begin + 70_000])
        return response

    fake.fail("GET", "watch=true", pieces)
    await eventually(lambda: follower.names() == {"big"})


async def test_informer_survives_a_line_that_is_no_event(fake: FakeKube, follower: Follower) -> None:
    fake.fail("GET", "watch=true", lambda _: web.Response(text="<html>\n"))
    fake.put(PATH, config_map("new"))
    await eventually(lambda: follower.names() == {"new"})
