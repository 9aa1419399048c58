"""Fixtures of the whole test run."""

import os
import uuid
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support import controlplane
from tests.support.controlplane import ClusterAccess

END_TO_END = "tests/e2e/"

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("modelyard", deadline=None)
hypothesis.settings.load_profile("modelyard")


class OneProcessPerCluster(LoadScopeScheduling):
    """Spreads modules over the workers, but keeps the end-to-end tests, which share one cluster, in one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return END_TO_END if nodeid.startswith(END_TO_END) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Replace xdist's way of spreading the tests."""
    config.option.loadscopereorder = False
    return OneProcessPerCluster(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest part, so that the others run beside it."""
    items.sort(key=lambda item: not item.nodeid.startswith(END_TO_END))


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder that the workers of this run share."""
    if not _is_worker(config):
        os.environ[controlplane.RUN_FOLDER] = str(controlplane.new_run_folder())


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what any worker has started; also after failures and Ctrl-C."""
    if not _is_worker(config):
        controlplane.end_run(Path(os.environ[controlplane.RUN_FOLDER]))


@pytest.fixture(scope="session")
def control_plane() -> ClusterAccess:
    """Return a real API server without nodes; see tests.support.controlplane for what is missing."""
    folder = Path(os.environ[controlplane.RUN_FOLDER])
    return controlplane.start_shared(folder, owner=int(folder.name))


@pytest.fixture
def namespace(control_plane: ClusterAccess) -> str:
    """Return a fresh namespace of the control plane; it goes with the run."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    control_plane.create_namespace(name)
    return name


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
