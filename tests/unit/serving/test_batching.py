"""Which requests share a run, and what each of them gets, whatever happens to the others."""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import orjson
import pytest

from modelyard.model import Datatype, InputTensor, Kind, OutputTensor, Signature, Task
from modelyard.serving.answers import Answer
from modelyard.serving.batching import MAX_QUEUED, Batcher, OverloadedError, Waiting
from modelyard.serving.decoding import InferenceRequest, InvalidValueError, RequestedOutput
from modelyard.serving.encoding import Encoder
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import LoadTimes, Model, RunCost
from modelyard.serving.runs import Outcome
from modelyard.serving.session import RunError
from modelyard.serving.tensors import Array, Column
from modelyard.serving.worker import Worker

SIGNATURE = Signature(
    task=Task.OTHER,
    inputs=(InputTensor(name="x", datatype=Datatype.FP32, shape=(-1, 1), kind=Kind.NUMERIC),),
    outputs=(OutputTensor(name="y", datatype=Datatype.FP32, shape=(-1, 1)),),
)
FAST, SLOW = RunCost(0.0001, 0.0, best_rows=8), RunCost(0.01, 0.0, best_rows=8)
POISON = 13.0


class Doubler:
    """A session whose runs are noted; a run with POISON in it fails, and none begins while the gate is closed."""

    signature = SIGNATURE

    def __init__(self) -> None:
        self.runs: list[list[float]] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        assert self.gate.wait(10)
        self.runs.append(inputs["x"].ravel().tolist())
        assert len(inputs["x"]) == rows
        if POISON in inputs["x"]:
            raise RunError("poisoned")
        return {"y": inputs["x"] * 2}


class Yard:
    """A batcher in a running loop, and what it delivered."""

    def __init__(self, cost: RunCost = FAST, *, mergeable: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.session = Doubler()
        nothing: Any = None
        model = Model("", nothing, nothing, nothing, cast("Any", self.session), cost, mergeable, LoadTimes(0, 0, 0, 0))
        self.metrics = Metrics()
        self.batcher = Batcher(model, Worker(loop), self.metrics, None, loop)
        self.outcomes: dict[int, Outcome] = {}
        self._changed = asyncio.Event()
        self._submitted = 0

    def submit(self, values: Column, seconds: float = 10.0) -> int:
        number = self._submitted
        request = InferenceRequest(None, {"x": values}, len(values), [RequestedOutput("y", binary=False)])
        now = time.monotonic()
        self.batcher.submit(Waiting(request, now, now + seconds, lambda outcome: self._note(number, outcome)))
        self._submitted += 1
        return number

    def submit_until_refused(self, values: Column, seconds: float) -> int:
        for accepted in range(2 * MAX_QUEUED):
            try:
                self.submit(values, seconds)
            except OverloadedError:
                return accepted
        raise AssertionError("no request was refused")

    def _note(self, number: int, outcome: Outcome) -> None:
        assert number not in self.outcomes
        self.outcomes[number] = outcome
        self._changed.set()

    async def settle(self, count: int | None = None) -> list[Any]:
        """Wait for outcomes, and return them: the doubled numbers, or the error's type."""
        wanted = self._submitted if count is None else count
        async with asyncio.timeout(10):
            while len(self.outcomes) < wanted:
                self._changed.clear()
                await self._changed.wait()
        return [self._shown(self.outcomes[number]) for number in sorted(self.outcomes)]

    @staticmethod
    def _shown(outcome: Outcome) -> Any:
        return outcome.array("y").ravel().tolist() if isinstance(outcome, Answer) else type(outcome)


@pytest.mark.parametrize("cost", [FAST, SLOW])
async def test_requests_of_one_tick_share_a_run_and_get_their_own_rows(cost: RunCost) -> None:
    yard = Yard(cost)
    yard.submit([1.0])
    yard.submit(np.array([[2.0], [3.0]], np.float32))
    yard.submit([])
    yard.submit([4.0])
    assert yard.outcomes == {}
    assert await yard.settle() == [[2.0], [4.0, 6.0], [], [8.0]]
    assert yard.session.runs == [[1.0, 2.0, 3.0, 4.0]]
    assert (yard.metrics.in_flight, sum(yard.metrics.batch_rows.counts)) == (0, 1)


async def test_requests_without_rows_share_a_run_too() -> None:
    yard = Yard()
    for _ in range(2):
        yard.submit([])
    assert await yard.settle() == [[], []]
    encoder = Encoder("m", "1", SIGNATURE)
    for outcome in yard.outcomes.values():
        assert isinstance(outcome, Answer)
        body, _ = encoder.encode(InferenceRequest(None, {}, 0), outcome)
        assert orjson.loads(body)["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [0, 1], "data": []}]


async def test_run_is_not_made_larger_than_what_makes_rows_cheaper() -> None:
    yard = Yard()
    for rows in (5, 3, 1, 20, 1):
        yard.submit([float(rows)] * rows)
    await yard.settle()
    assert [len(run) for run in yard.session.runs] == [8, 1, 20, 1]


async def test_model_whose_rows_depend_on_each_other_answers_every_request_alone() -> None:
    yard = Yard(mergeable=False)
    for value in (1.0, 2.0):
        yard.submit([value])
    assert await yard.settle() == [[2.0], [4.0]]
    assert yard.session.runs == [[1.0], [2.0]]


@pytest.mark.parametrize("cost", [FAST, SLOW])
async def test_request_on_which_the_model_fails_fails_alone(cost: RunCost) -> None:
    yard = Yard(cost)
    for value in (1.0, POISON, 2.0):
        yard.submit([value])
    assert await yard.settle() == [[2.0], RunError, [4.0]]


async def test_number_out_of_range_is_its_own_requests_fault() -> None:
    yard = Yard()
    for value in (1.0, 1e39):
        yard.submit([value])
    assert await yard.settle() == [[2.0], InvalidValueError]


async def test_requests_that_come_while_the_worker_runs_share_the_next_run() -> None:
    yard = Yard(SLOW)
    yard.session.gate.clear()
    yard.submit([1.0])
    await asyncio.sleep(0)
    for value in (2.0, 3.0):
        yard.submit([value])
        await asyncio.sleep(0)
    assert yard.outcomes == {}
    yard.session.gate.set()
    assert await yard.settle() == [[2.0], [4.0], [6.0]]
    assert yard.session.runs == [[1.0], [2.0, 3.0]]


async def test_deadline_is_kept_by_the_run_under_way_and_by_those_behind_it() -> None:
    yard = Yard(SLOW)
    yard.session.gate.clear()
    yard.submit([1.0], seconds=0.02)
    await asyncio.sleep(0)
    yard.submit([2.0], seconds=0.03)
    yard.submit([3.0])
    assert await yard.settle(2) == [TimeoutError, TimeoutError]
    yard.session.gate.set()
    assert await yard.settle() == [TimeoutError, TimeoutError, [6.0]]
    assert yard.session.runs == [[1.0], [3.0]]
    assert (yard.metrics.timeouts, yard.metrics.in_flight) == (2, 0)


async def test_request_that_could_not_be_answered_in_time_is_refused_at_once() -> None:
    yard = Yard(SLOW)
    yard.session.gate.clear()
    yard.submit([1.0])
    await asyncio.sleep(0)
    accepted = yard.submit_until_refused([1.0] * 8, seconds=0.1)
    assert 5 <= accepted <= 12
    assert yard.metrics.shed == 1
    yard.session.gate.set()
    await yard.settle()


async def test_queue_is_bounded() -> None:
    yard = Yard()
    assert yard.submit_until_refused([], seconds=10) == MAX_QUEUED
    assert len(await yard.settle()) == MAX_QUEUED
