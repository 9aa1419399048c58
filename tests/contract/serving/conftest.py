import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.serving.server_process import ServerProcess

StartServer = Callable[..., ServerProcess]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.contract.serving.small_model import write_small_model  # noqa: PLC0415 - scikit-learn is slow to import

    folder = tmp_path_factory.mktemp("model") / "model"
    write_small_model(folder)
    return folder


@pytest.fixture
def own_model_dir(model_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    copy = tmp_path / "model"
    shutil.copytree(model_dir, copy)
    return copy


@pytest.fixture(scope="session")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that the tests of one run share and leave as it is."""
    process = ServerProcess(
        model_dir, tmp_path_factory.mktemp("server"), MODELYARD_MAX_ROWS="8", MODELYARD_MAX_REQUEST_BYTES="65536"
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
def start_server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start servers of a test's own."""
    started: list[ServerProcess] = []

    def start(folder: Path = model_dir, **environment: str) -> ServerProcess:
        started.append(ServerProcess(folder, tmp_path_factory.mktemp("server"), **environment))
        return started[-1]

    yield start
    for process in started:
        process.stop()
