from collections.abc import AsyncIterator

import pytest

from modelyard.controller.engine.credentials import Credentials
from modelyard.controller.engine.election import LEASES
from modelyard.controller.engine.events import EVENTS
from modelyard.controller.engine.kube import KubeClient, Request
from modelyard.controller.engine.manifests import TypeTable
from tests.support import widgets
from tests.support.controlplane import ClusterAccess


@pytest.fixture(scope="session")
def widget_plane(control_plane: ClusterAccess) -> ClusterAccess:
    """The control plane, once it serves widgets."""
    control_plane.apply(widgets.CRD)
    control_plane.kubectl("wait", "--for=condition=Established", "crd/widgets.engine.test", "--timeout=30s")
    return control_plane


@pytest.fixture
def requests() -> list[Request]:
    """What the client of this test has sent."""
    return []


@pytest.fixture
async def client(widget_plane: ClusterAccess, requests: list[Request]) -> AsyncIterator[KubeClient]:
    types = TypeTable.of(*widgets.TYPES, LEASES, EVENTS)
    credentials = Credentials(str(widget_plane.kubeconfig))
    async with KubeClient(credentials, types, on_request=requests.append) as client:
        yield client
