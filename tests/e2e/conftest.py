"""The whole local cluster with our charts in it, and tenants for the tests."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dev.cluster import backend
from dev.images.catalogue import Image
from dev.install import Installation, Store
from tests.support.tenant import Tenant, make_tenant


@dataclass(frozen=True)
class Yard:
    """Modelyard, installed."""

    installation: Installation
    images: list[Image]
    store: Store
    """The embedded store as this machine reaches it."""

    def image(self, name: str) -> str:
        """Return what a pod calls one of our images."""
        return next(f"modelyard-{image.name}:{image.tag}" for image in self.images if image.name == name)


@pytest.fixture(scope="session")
def yard() -> Iterator[Yard]:
    """The local cluster, our images and the operator's chart."""
    backend.choose(print).up()
    installation = Installation(print)
    images = installation.load_images()
    installation.install_operator(images)
    with installation.reachable_store() as store:
        yield Yard(installation, images, store)


@pytest.fixture(scope="module")
def tenant(yard: Yard) -> Iterator[Tenant]:
    """A tenant of its own for the tests of one module."""
    yield from make_tenant(yard.installation, yard.images, yard.store)


DISRUPTIVE = ("test_charts.py", "test_local_cluster.py")
"""Modules that end connections of the others, and so come last."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give these tests the time that a cluster needs."""
    item.add_marker(pytest.mark.timeout(600))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the modules that end connections of the others to the end."""
    items.sort(key=lambda item: item.path.name in DISRUPTIVE)
