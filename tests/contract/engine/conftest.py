from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from modelyard.controller.engine.credentials import Credentials
from modelyard.controller.engine.election import LEASES
from modelyard.controller.engine.events import EVENTS
from modelyard.controller.engine.kube import KubeClient
from modelyard.controller.engine.manifests import TypeTable
from modelyard.controller.engine.metrics import Metrics
from tests.support import fake_kube
from tests.support.fake_kube import FakeKube
from tests.support.widgets import TYPES


@pytest.fixture
async def fake() -> AsyncIterator[FakeKube]:
    async with fake_kube.serving() as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeKube, tmp_path: Path) -> AsyncIterator[KubeClient]:
    kubeconfig = fake_kube.write_kubeconfig(tmp_path / "kubeconfig", fake.url)
    types = TypeTable.of(*TYPES, LEASES, EVENTS)
    async with KubeClient(Credentials(str(kubeconfig)), types, timeout=5) as client:
        yield client


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)
