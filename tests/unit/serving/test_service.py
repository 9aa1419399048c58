"""What the service answers when no model answers: while loading, and with a worker that is stuck."""

import asyncio
from types import SimpleNamespace
from typing import cast

import orjson
import pytest

from modelyard import __version__
from modelyard.serving.messages import Request, Response
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import Model, RunCost
from modelyard.serving.service import STUCK_SECONDS, Service
from modelyard.serving.settings import read_settings
from modelyard.serving.worker import Worker

SETTINGS = read_settings(
    {
        "MODELYARD_MODEL_NAME": "m",
        "MODELYARD_MODEL_VERSION": "1",
        "MODELYARD_MODEL_DIGEST": "sha256:" + "0" * 64,
        "MODELYARD_DEPLOYMENT": "d",
        "MODELYARD_PROFILE": "off",
    }
)


class BusyWorker:
    """Has been running one job for some time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def running_seconds(self) -> float:
        return self._seconds


def service_with(worker_seconds: float = 0.0) -> Service:
    return Service(SETTINGS, Metrics(), cast("Worker", BusyWorker(worker_seconds)))


def ask(asked: Service, target: bytes, method: bytes = b"GET") -> Response:
    answers: list[Response] = []
    asked.answer(Request(method, target, {}, b"", received=0.0), answers.append)
    assert len(answers) == 1
    return answers[0]


async def _serve(service: Service, model: Model) -> None:
    service.serve(model)


def test_service_without_a_model_is_live_and_not_ready() -> None:
    loading = service_with(worker_seconds=10_000)  # loading runs in the worker, however long it takes
    assert ask(loading, b"/v2/health/live").status == 200
    assert ask(loading, b"/v2").status == 200
    assert ask(loading, b"/v2/health/ready").status == 503
    assert ask(loading, b"/v2/models/m/ready").status == 503


@pytest.mark.parametrize(
    ("method", "target"), [(b"GET", b"/v2/models/m"), (b"GET", b"/openapi.json"), (b"POST", b"/v2/models/m/infer")]
)
def test_service_without_a_model_asks_to_come_again(method: bytes, target: bytes) -> None:
    answer = ask(service_with(), target, method)
    assert (answer.status, answer.headers) == (503, b"Retry-After: 1\r\n")
    assert orjson.loads(answer.body) == {"error": "the model is being loaded"}


@pytest.mark.parametrize(("seconds", "status"), [(0, 200), (10 + STUCK_SECONDS - 1, 200), (10 + STUCK_SECONDS, 503)])
def test_service_is_live_until_a_run_is_stuck(seconds: float, status: int) -> None:
    loaded = service_with(seconds)
    model = SimpleNamespace(cost=RunCost(0.001, 0.0), mergeable=True)
    with asyncio.Runner() as runner:
        runner.run(_serve(loaded, cast("Model", model)))
    assert ask(loaded, b"/v2/health/live").status == status


def test_server_metadata_has_the_version_of_the_package() -> None:
    assert orjson.loads(ask(service_with(), b"/v2").body)["version"] == __version__
