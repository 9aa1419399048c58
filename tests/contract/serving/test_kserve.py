"""kserve's own clients, REST and gRPC, from an environment of their own."""

import json
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors
from tests.support.environments import python_with

TENSORS = request_tensors(EXAMPLE_ROWS[:2])
pytestmark = pytest.mark.timeout(400)  # the first run of all installs kserve


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(model_dir, tmp_path_factory.mktemp("server"), MODELYARD_GRPC_PORT="0")
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture(scope="module")
def answers(server: ServerProcess) -> dict[str, Any]:
    script = Path(__file__).with_name("kserve_client.py")
    ports = [str(server.port), str(server.grpc_port)]
    finished = subprocess.run(
        [str(python_with("kserve-client.txt")), str(script), *ports, "flight-delay", json.dumps(TENSORS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_kserve_client_finds_server_and_model(answers: dict[str, Any], protocol: str) -> None:
    assert [answers[protocol][question] for question in ("live", "ready", "model_ready")] == [True] * 3
    assert not answers["rest"]["other_ready"]


MODES = (
    ("rest", "json/json"),
    ("rest", "json/binary"),
    ("rest", "binary/json"),
    ("rest", "binary/binary"),
    ("grpc", "typed"),
    ("grpc", "raw"),
)


@pytest.mark.parametrize(("protocol", "mode"), MODES)
def test_kserve_client_infers_in_every_mode(
    server: ServerProcess, answers: dict[str, Any], protocol: str, mode: str
) -> None:
    label, probabilities = server.infer({"inputs": TENSORS}).json["outputs"]
    answer = answers[protocol][mode]
    assert (answer["id"], answer["model"]) == ("asked", "flight-delay")
    assert answer["outputs"]["label"] == label["data"]
    assert list(chain.from_iterable(answer["outputs"]["probabilities"])) == pytest.approx(probabilities["data"])


def test_kserve_client_shows_the_error_text(answers: dict[str, Any]) -> None:
    assert "inputs: must be a list with the inputs 'distance'" in answers["rest"]["error"]
