import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from modelyard.controller.engine.errors import Terminal, Transient, Waiting
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.reconcile import NEVER, Controller
from tests.support.eventually import eventually

KEY = Key("Widget", "a", "one")


class Bench:
    """A running controller whose passes do what the test says; `None` succeeds."""

    def __init__(self, metrics: Metrics) -> None:
        self.outcomes: list[Exception | float | None] = []
        self.passes = 0
        self.controller = Controller(
            "widget", self.reconcile, metrics, workers=2, deadline=0.2, resync=600, rng=lambda: 0.0
        )
        self.delays: list[float] = []
        add_after = self.controller.queue.add_after

        def noted(key: Key, delay: float) -> None:
            self.delays.append(delay)
            add_after(key, delay)

        self.controller.queue.add_after = noted  # type: ignore[method-assign]  # to see how long it would wait

    async def reconcile(self, key: Key) -> float | None:
        assert key == KEY
        self.passes += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, TimeoutError):
            await asyncio.sleep(3600)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def run_pass(self, outcome: Exception | float | None) -> None:
        self.outcomes.append(outcome)
        expected = self.passes + 1
        self.controller.queue.add(KEY)
        await eventually(lambda: self.passes == expected and not self.controller.queue.longest_running)


@pytest.fixture
async def bench(metrics: Metrics) -> AsyncIterator[Bench]:
    bench = Bench(metrics)
    task = asyncio.create_task(bench.controller.run())
    yield bench
    assert await bench.controller.queue.shutdown(5)
    await task


@pytest.mark.parametrize(
    ("outcome", "result", "delays"),
    [
        pytest.param(None, "success", [480], id="resync, a fifth early"),
        pytest.param(30.0, "requeue_after", [30], id="what the pass asks for"),
        pytest.param(9000.0, "requeue_after", [480], id="not later than the resync"),
        pytest.param(NEVER, "success", [], id="object is gone"),
        pytest.param(Waiting("x", delay=5), "waiting", [5], id="waiting"),
        pytest.param(Transient("x"), "error", [0.5], id="first failure"),
        pytest.param(Transient("x", retry_after=20), "error", [20], id="server asks to wait"),
        pytest.param(Terminal("x"), "terminal", [480], id="refused"),
        pytest.param(RuntimeError("bug"), "error", [0.5], id="crash"),
        pytest.param(TimeoutError(), "error", [0.5], id="deadline of a pass"),
    ],
)
async def test_controller_decides_when_an_object_is_looked_at_again(
    bench: Bench,
    registry: CollectorRegistry,
    outcome: Exception | float | None,
    result: str,
    delays: list[float],
) -> None:
    await bench.run_pass(outcome)
    assert bench.delays == delays
    labels = {"controller": "widget", "result": result}
    assert registry.get_sample_value("controller_runtime_reconcile_total", labels) == 1
    failed = registry.get_sample_value("controller_runtime_reconcile_errors_total", {"controller": "widget"})
    assert failed == (1 if result in {"error", "terminal"} else 0)


async def test_controller_waits_longer_with_each_failure_and_starts_over_after_a_success(bench: Bench) -> None:
    for outcome in (Transient("x"), Transient("x"), Waiting("x", delay=1), None, Transient("x")):
        await bench.run_pass(outcome)
    assert bench.delays == [0.5, 1, 4, 480, 0.5]


async def test_controller_works_on_other_objects_while_one_is_slow(metrics: Metrics) -> None:
    slow, quick = Key("Widget", "a", "slow"), Key("Widget", "a", "quick")
    release = asyncio.Event()
    ended: list[Key] = []

    async def reconcile(key: Key) -> float | None:
        if key == slow:
            await release.wait()
        ended.append(key)
        return None

    controller = Controller("widget", reconcile, metrics, workers=2)
    task = asyncio.create_task(controller.run())
    controller.queue.add(slow)
    controller.queue.add(quick)
    await eventually(lambda: ended == [quick])
    release.set()
    await eventually(lambda: ended == [quick, slow])
    assert await controller.queue.shutdown(5)
    await task
