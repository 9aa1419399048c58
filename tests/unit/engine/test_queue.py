import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry
from typing_extensions import override

from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.queue import QueueClosed, WorkQueue
from tests.support.eventually import eventually

A, B = Key("Widget", "n", "a"), Key("Widget", "n", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A queue on a clock that only the test moves."""

    def __init__(self, jitter: float = 0.0) -> None:
        self.clock = Clock()
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry).queue("w")
        self.queue = WorkQueue(metrics, clock=self.clock, rng=lambda: jitter, base_delay=1, max_delay=60)

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.queue.tick()

    async def take_all(self) -> list[Key]:
        taken = []
        while self.queue.depth:
            taken.append(await self.queue.get())
        return taken

    def sample(self, name: str) -> float | None:
        return self.registry.get_sample_value(name, {"name": "w"})


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_queue_hands_out_a_key_once_however_often_it_was_added(bench: Bench) -> None:
    for key in (A, A, B, A):
        bench.queue.add(key)
    assert await bench.take_all() == [A, B]


async def test_queue_gives_a_key_that_was_added_during_its_pass_one_more_pass(bench: Bench) -> None:
    bench.queue.add(A)
    await bench.queue.get()
    bench.queue.add(A)
    bench.queue.add(A)
    assert bench.queue.depth == 0
    bench.queue.done(A)
    assert await bench.take_all() == [A]
    bench.queue.done(A)
    assert bench.queue.depth == 0


async def test_queue_keeps_the_earliest_deadline(bench: Bench) -> None:
    bench.queue.add_after(A, 10)
    bench.queue.add_after(A, 3)
    bench.queue.add_after(A, 20)
    await bench.pass_time(2.9)
    assert bench.queue.depth == 0
    await bench.pass_time(0.2)
    assert await bench.take_all() == [A]
    bench.queue.done(A)
    await bench.pass_time(100)
    assert bench.queue.depth == 0


async def test_queue_drops_the_deadline_when_a_pass_begins_earlier(bench: Bench) -> None:
    bench.queue.add_after(A, 10)
    bench.queue.add(A)
    await bench.queue.get()
    bench.queue.done(A)
    await bench.pass_time(11)
    assert bench.queue.depth == 0


async def test_queue_backs_off_up_to_a_bound_until_it_is_told_to_forget(bench: Bench) -> None:
    delays = [bench.queue.add_backoff(A) for _ in range(8)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
    bench.queue.forget(A)
    assert bench.queue.add_backoff(A) == 1


async def test_queue_waits_at_least_as_long_as_it_is_asked_to() -> None:
    assert Bench(jitter=0.5).queue.add_backoff(A, at_least=30) == 37.5


async def test_queue_wakes_a_waiting_worker_at_the_deadline() -> None:
    queue = WorkQueue(Metrics(CollectorRegistry()).queue("w"))
    queue.add_after(A, 0.01)
    async with asyncio.timeout(5):
        assert await queue.get() == A


async def test_queue_counts(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.add(A)
    bench.queue.add_backoff(B)
    bench.clock.now += 2
    assert (bench.sample("workqueue_depth"), bench.sample("workqueue_adds_total")) == (1, 1)
    assert bench.sample("workqueue_retries_total") == 1
    await bench.queue.get()
    assert bench.sample("workqueue_queue_duration_seconds_sum") == 2
    bench.clock.now += 3
    assert bench.sample("workqueue_longest_running_processor_seconds") == 3
    bench.queue.done(A)
    assert bench.sample("workqueue_work_duration_seconds_sum") == 3
    assert bench.sample("workqueue_longest_running_processor_seconds") == 0


async def test_shutdown_waits_for_running_passes_and_ends_all_workers(bench: Bench) -> None:
    bench.queue.add(A)
    await bench.queue.get()
    waiting = [asyncio.create_task(bench.queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    bench.queue.add(A)
    stopping = asyncio.create_task(bench.queue.shutdown(5))
    await asyncio.sleep(0)
    assert not stopping.done()
    bench.queue.done(A)

    assert await stopping
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [QueueClosed] * 3
    bench.queue.add(B)
    with pytest.raises(QueueClosed):
        await bench.queue.get()


async def test_shutdown_gives_up_at_its_deadline(bench: Bench) -> None:
    bench.queue.add(A)
    await bench.queue.get()
    assert not await bench.queue.shutdown(0.01)


class QueueMachine(RuleBasedStateMachine):
    """No key is lost, doubled or handed out while its pass runs, whatever happens in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = self.loop.run_until_complete(self._make())
        self.running: Counter[Key] = Counter()
        self.wanted: set[Key] = set()
        self.deadlines: dict[Key, float] = {}

    async def _make(self) -> Bench:
        return Bench()

    def _do(self, call: Callable[[], object]) -> None:
        async def run() -> None:
            call()

        self.loop.run_until_complete(run())

    @rule(key=st.sampled_from([A, B]))
    def add(self, key: Key) -> None:
        self._do(lambda: self.bench.queue.add(key))
        self.wanted.add(key)

    @rule(key=st.sampled_from([A, B]), delay=st.integers(1, 5))
    def add_after(self, key: Key, delay: int) -> None:
        self._do(lambda: self.bench.queue.add_after(key, delay))
        due = self.bench.clock.now + delay
        self.deadlines[key] = min(due, self.deadlines.get(key, due))

    @rule(seconds=st.integers(1, 4))
    def pass_time(self, seconds: int) -> None:
        self.loop.run_until_complete(self.bench.pass_time(seconds))
        for key, due in list(self.deadlines.items()):
            if due <= self.bench.clock.now:
                del self.deadlines[key]
                self.wanted.add(key)

    @precondition(lambda self: self.bench.queue.depth)
    @rule()
    def get(self) -> None:
        key = self.loop.run_until_complete(self.bench.queue.get())
        assert key in self.wanted
        self.wanted.discard(key)
        self.deadlines.pop(key, None)
        self.running[key] += 1

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self._do(lambda: self.bench.queue.done(key))
        del self.running[key]

    @invariant()
    def never_runs_a_key_twice_at_once(self) -> None:
        assert all(count == 1 for count in self.running.values())

    @invariant()
    def offers_what_is_wanted_and_not_running(self) -> None:
        assert self.bench.queue.depth == len(self.wanted - self.running.keys())

    @override
    def teardown(self) -> None:
        self.loop.close()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(workers=st.integers(1, 4), rounds=st.lists(st.lists(st.sampled_from([A, B]), max_size=4), max_size=4))
@settings(max_examples=30, deadline=None)
def test_workers_never_overlap_on_a_key_and_see_the_last_change(workers: int, rounds: list[list[Key]]) -> None:
    async def run() -> None:
        queue = WorkQueue(Metrics(CollectorRegistry()).queue("w"))
        version: Counter[Key] = Counter()
        seen: Counter[Key] = Counter()
        busy: set[Key] = set()

        async def work() -> None:
            while True:
                try:
                    key = await queue.get()
                except QueueClosed:
                    return
                assert key not in busy
                busy.add(key)
                seen[key] = version[key]
                await asyncio.sleep(0)
                busy.discard(key)
                queue.done(key)

        tasks: list[Awaitable[None]] = [asyncio.create_task(work()) for _ in range(workers)]
        for keys in rounds:
            for key in keys:
                version[key] += 1
                queue.add(key)
            await asyncio.sleep(0)
        await eventually(lambda: not queue.depth and not queue.longest_running)
        await queue.shutdown(1)
        await asyncio.gather(*tasks)
        assert seen == version

    asyncio.run(run())
