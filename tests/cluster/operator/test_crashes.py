"""The operator dies after each of its writes, or each of them fails once: nothing is lost, nothing is made twice."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from typing_extensions import override

from tests.cluster.operator.conftest import Operator, Stage
from tests.cluster.operator.test_serving import is_served
from tests.cluster.operator.test_training import RUN
from tests.support.controlplane import ClusterAccess
from tests.support.fault_proxy import Fault, FaultProxy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WRITES = {"POST", "PUT", "PATCH", "DELETE"}


class DeadlyProxy(FaultProxy):
    """Kills the operator when a write has reached the server, before the operator hears of it."""

    def __init__(self, plane: ClusterAccess, folder: Path) -> None:
        super().__init__(plane, folder)
        self.kills = 0
        self._victim: Operator | None = None
        self._armed = threading.Lock()

    def aim_at(self, operator: Operator) -> None:
        with self._armed:
            self._victim = operator

    @override
    async def _forward(self, request: web.Request, *, is_lost: bool) -> web.StreamResponse:
        victim = None
        if request.method in WRITES and "/leases" not in request.path:
            with self._armed:
                victim, self._victim = self._victim, None
        response = await super()._forward(request, is_lost=is_lost or victim is not None)
        if victim:
            victim.kill()
            self.kills += 1
        return response


@pytest.fixture
def proxy(stage: Stage, tmp_path: Path) -> Iterator[DeadlyProxy]:
    """A proxy that outlives the operators behind it."""
    with DeadlyProxy(stage.plane, tmp_path) as proxy:
        yield proxy
        stage.stop()


def made(stage: Stage, path: str) -> int:
    """How often an object was made under a path that ends so, by whom ever."""
    creations = (record for record in stage.records() if record["verb"] in {"create", "patch"})
    return sum(
        record["responseStatus"]["code"] == 201
        and record["requestURI"].partition("?")[0].endswith(path)
        and record["objectRef"]["namespace"] == stage.api.namespace
        for record in creations
    )


def is_done(stage: Stage) -> bool:
    return is_served(stage, 1) and stage.ready("TrainingRun", "one") == "Succeeded"


def test_operator_that_dies_after_each_write_makes_everything_once(stage: Stage, proxy: DeadlyProxy) -> None:
    stage.apply("TrainingRun", "one", **RUN)
    stage.apply("Deployment", "delay", model={"name": "delay", "version": 1})
    while not is_done(stage):
        operator = stage.start(proxy.kubeconfig)
        proxy.aim_at(operator)
        stage.until(lambda: is_done(stage) or not operator.is_running, "the operator to write")  # noqa: B023 - called at once
    assert proxy.kills >= 15
    assert stage.api.names("Job") == ["one-prepare-1", "one-register-1", "one-train-1"]
    assert made(stage, "/jobs") == 3
    assert stage.api.names("ModelVersion") == ["delay-v1"]
    assert len(stage.api.names("Workload")) == 1
    operator = stage.start()
    stage.assert_converged(operator)


@pytest.mark.parametrize("fault", [409, 429, 500, "dropped", "lost"])
def test_operator_whose_writes_all_fail_once_makes_everything_once(
    stage: Stage, proxy: DeadlyProxy, fault: Fault
) -> None:
    proxy.fail_each_once(fault)
    stage.apply("TrainingRun", "one", **RUN)
    stage.apply("Deployment", "delay", model={"name": "delay", "version": 1})
    stage.start(proxy.kubeconfig)
    stage.until(lambda: is_done(stage), "everything to be done", seconds=120)
    assert proxy.injected > 10
    assert stage.api.names("Job") == ["one-prepare-1", "one-register-1", "one-train-1"]
    assert made(stage, "/jobs") == 3
    assert stage.api.names("ModelVersion") == ["delay-v1"]
