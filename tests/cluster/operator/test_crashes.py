"""The operator dies after each of its writes, or each of them fails once: nothing is lost, nothing is made twice."""

import random
import threading
import time
from collections.abc import Iterator
from functools import partial
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
LEAST_KILLS = 12
RANDOM_KILLS = 30
STEPS_AND_REGISTER = ("prepare", "train", "register")


class DeadlyProxy(FaultProxy):
    """Kills an operator at one of its writes."""

    def __init__(self, plane: ClusterAccess, folder: Path) -> None:
        super().__init__(plane, folder)
        self.kills = 0
        self._victim: Operator | None = None
        self._spared = 0
        self._reaches_server = True
        self._aiming = threading.Lock()

    def aim_at(self, operator: Operator, *, spared: int, reaches_server: bool) -> None:
        """Kill the operator at a write, of which it never hears.

        Args:
            operator: the process.
            spared: how many writes it makes before.
            reaches_server: whether the server still carries out the last one.
        """
        with self._aiming:
            self._victim, self._spared, self._reaches_server = operator, spared, reaches_server

    @override
    async def _forward(self, request: web.Request, *, is_lost: bool) -> web.StreamResponse:
        victim = self._victim_of(request)
        if victim is None:
            return await super()._forward(request, is_lost=is_lost)
        if self._reaches_server:
            await super()._forward(request, is_lost=True)
        victim.kill()
        self.kills += 1
        return web.Response()

    def _victim_of(self, request: web.Request) -> Operator | None:
        if request.method not in WRITES or "/leases" in request.path:
            return None
        with self._aiming:
            self._spared -= 1
            victim = self._victim if self._spared < 0 else None
            self._victim = None if victim else self._victim
            return victim


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


def ask_for_a_served_model(stage: Stage) -> None:
    stage.apply("TrainingRun", "one", **RUN)
    stage.apply("Deployment", "delay", model={"name": "delay", "version": 1})


def assert_made_once(stage: Stage) -> None:
    assert stage.api.names("Job") == ["one-prepare-1", "one-register-1", "one-train-1"]
    assert made(stage, "/jobs") == 3
    assert stage.api.names("ModelVersion") == ["delay-v1"]
    assert len(stage.api.names("Workload")) == len(stage.api.names("Service")) == 1


def is_past(moment: float) -> bool:
    return time.monotonic() >= moment


def is_done_or_dead(stage: Stage, operator: Operator) -> bool:
    return is_done(stage) or not operator.is_running


def is_done(stage: Stage) -> bool:
    return is_served(stage, 1) and stage.ready("TrainingRun", "one") == "Succeeded"


@pytest.mark.parametrize(
    ("spared", "reaches_server"), [pytest.param(0, True, id="after-each-write"), pytest.param(1, False, id="before")]
)
def test_operator_that_dies_again_and_again_makes_everything_once(
    stage: Stage,
    proxy: DeadlyProxy,
    spared: int,
    reaches_server: bool,
) -> None:
    ask_for_a_served_model(stage)
    while not is_done(stage):
        operator = stage.start(proxy.kubeconfig)
        proxy.aim_at(operator, spared=spared, reaches_server=reaches_server)
        stage.until(partial(is_done_or_dead, stage, operator), "the operator to write")
    assert proxy.kills >= LEAST_KILLS
    assert_made_once(stage)
    stage.assert_converged(stage.start())


def test_operator_killed_at_thirty_random_moments_makes_everything_once(stage: Stage) -> None:
    """Runs follow one another until enough operators have died; the moments are spread over start-up and work."""
    moments = random.Random(30)  # noqa: S311 - no secret
    runs: list[str] = []
    for _ in range(RANDOM_KILLS):
        if all(stage.ready("TrainingRun", run) == "Succeeded" for run in runs):
            runs.append(f"run-{len(runs) + 1}")
            stage.apply("TrainingRun", runs[-1], **RUN, seed=len(runs))
        operator = stage.start()
        dies_at = time.monotonic() + moments.uniform(0.3, 3)
        stage.until(partial(is_past, dies_at), "the moment to come")
        operator.kill()
    stage.start()
    stage.until(lambda: all(stage.ready("TrainingRun", run) == "Succeeded" for run in runs), "all runs to succeed")

    assert made(stage, "/jobs") == len(stage.api.names("Job")) == len(STEPS_AND_REGISTER) * len(runs)
    assert all(f"{run}-{step}-1" in stage.api.names("Job") for run in runs for step in STEPS_AND_REGISTER)
    makers = [version["spec"]["lineage"]["trainingRun"]["name"] for version in stage.api.all("ModelVersion")]
    assert sorted(makers) == sorted(runs)


@pytest.mark.parametrize("fault", [409, 429, 500, "dropped", "lost"])
def test_operator_whose_writes_all_fail_once_makes_everything_once(
    stage: Stage, proxy: DeadlyProxy, fault: Fault
) -> None:
    proxy.fail_each_once(fault)
    ask_for_a_served_model(stage)
    stage.start(proxy.kubeconfig)
    stage.until(lambda: is_done(stage), "everything to be done", seconds=120)
    assert proxy.injected > LEAST_KILLS
    assert_made_once(stage)
