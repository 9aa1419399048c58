import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from modelyard.controller.engine.health import Health, Pulse, deafness, stuckness
from modelyard.controller.engine.informer import Informer
from modelyard.controller.engine.kube import KubeClient
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.store import Store
from tests.support.eventually import eventually
from tests.support.fake_kube import FakeKube
from tests.support.widgets import CONFIG_MAPS

Get = Callable[[str], Awaitable[tuple[int, str]]]


@pytest.fixture
def health(registry: CollectorRegistry) -> Health:
    return Health(registry)


@pytest.fixture
async def get(health: Health) -> AsyncIterator[Get]:
    port = await health.start("127.0.0.1", 0)

    async def getter(path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()

    yield getter
    await health.stop()


async def test_probes_are_good_without_checks(get: Get) -> None:
    assert await get("/livez") == (200, "ok\n")
    assert await get("/readyz") == (200, "ok\n")


async def test_probes_name_all_that_is_wrong(health: Health, get: Get) -> None:
    health.add_liveness("Pod watch", lambda: deafness(301, 300))
    health.add_liveness("Job watch", lambda: deafness(299, 300))
    health.add_liveness("widget workers", lambda: stuckness(121, 120))
    health.add_readiness("Pod cache", lambda: "not filled yet")
    assert await get("/livez") == (
        503,
        "Pod watch: nothing heard for 301 s\nwidget workers: a pass has been running for 121 s\n",
    )
    assert await get("/readyz") == (503, "Pod cache: not filled yet\n")


async def test_a_deaf_informer_fails_the_liveness_probe(
    fake: FakeKube, client: KubeClient, metrics: Metrics, health: Health, get: Get
) -> None:
    informer = Informer(client, Store(CONFIG_MAPS), metrics, namespace="a", first_delay=0.01)
    health.add_liveness("ConfigMap watch", lambda: deafness(time.monotonic() - informer.last_event, 0.3))
    task = asyncio.create_task(informer.run())
    await eventually(informer.synced.is_set)
    assert (await get("/livez"))[0] == 200
    await eventually(lambda: time.monotonic() - informer.last_event > 0.3)
    assert (await get("/livez"))[0] == 503

    fake.put(
        "/api/v1/namespaces/a/configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": "x"}},
    )
    await eventually(lambda: informer.store.size == 1)
    assert (await get("/livez"))[0] == 200
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_metrics_are_served(metrics: Metrics, get: Get) -> None:
    metrics.reconciles.labels("widget", "success").inc()
    status, text = await get("/metrics")
    assert status == 200
    assert 'controller_runtime_reconcile_total{controller="widget",result="success"} 1.0' in text


async def test_pulse_measures_how_late_the_loop_is(metrics: Metrics, registry: CollectorRegistry) -> None:
    pulse = Pulse(metrics, interval=0.01)
    task = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 - the loop has to be blocked
    await eventually(lambda: (registry.get_sample_value("modelyard_event_loop_lag_seconds") or 0) > 0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
