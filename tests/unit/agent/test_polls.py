import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from modelyard.agent import polls as module
from modelyard.agent.polls import Polls
from modelyard.agent.sightings import SeenInput, Sighting
from modelyard.storage.errors import ObjectNotFound, StorageError, StoreUnreachable
from tests.support.eventually import eventually

URI = "s3://b/flights/"
FIRST = SeenInput("sha256:1", 1, fingerprint="f1")
SECOND = SeenInput("sha256:2", 2, fingerprint="f2")


class FakeInputs:
    """Answers what the test says."""

    def __init__(self) -> None:
        self.answer: SeenInput | StorageError | Exception = FIRST
        self.looks: Counter[str] = Counter()
        self.remembered: dict[str, SeenInput] = {}
        self.retry = 0.0

    async def look(self, uri: str) -> SeenInput:
        self.looks[uri] += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def remember(self, uri: str, seen: SeenInput) -> None:
        self.remembered[uri] = seen

    def retry_seconds(self, _: str) -> float:
        return self.retry


@pytest.fixture
def inputs() -> FakeInputs:
    return FakeInputs()


@pytest.fixture
def news() -> Counter[str]:
    return Counter()


@pytest.fixture
async def polls(inputs: FakeInputs, news: Counter[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Polls]:
    monkeypatch.setattr(module, "_LEAST_SECONDS", 0.01)
    polls = Polls(inputs, lambda name: news.update([name]))  # type: ignore[arg-type]
    yield polls
    for name in ("a", "b", "c"):
        polls.unsubscribe(name)


async def test_uri_is_looked_at_once_an_interval_for_all(polls: Polls, inputs: FakeInputs, news: Counter[str]) -> None:
    for number in range(20):
        polls.subscribe(f"p{number}", [URI], 0.2, {})
    await eventually(lambda: inputs.looks[URI] == 3)
    assert news == {f"p{number}": 1 for number in range(20)}
    assert polls.get(URI) == Sighting(FIRST)
    inputs.answer = SECOND
    await eventually(lambda: news["p0"] == 2)
    for number in range(20):
        polls.unsubscribe(f"p{number}")


async def test_shortest_interval_holds_from_the_moment_it_is_wanted(polls: Polls, inputs: FakeInputs) -> None:
    polls.subscribe("a", [URI], 3600, {})
    await eventually(lambda: inputs.looks[URI] == 1)
    polls.subscribe("b", [URI], 0.05, {})
    await eventually(lambda: inputs.looks[URI] >= 3)
    polls.subscribe("b", [], 0.05, {})
    await asyncio.sleep(0.1)
    looks = inputs.looks[URI]
    await asyncio.sleep(0.2)
    assert inputs.looks[URI] == looks


@pytest.mark.parametrize("failure", [StoreUnreachable("down"), ObjectNotFound("gone")])
async def test_failure_replaces_no_digest(
    polls: Polls, inputs: FakeInputs, news: Counter[str], failure: StorageError
) -> None:
    polls.subscribe("a", [URI], 0.05, {})
    await eventually(lambda: polls.get(URI).seen)
    inputs.answer = failure
    await eventually(lambda: polls.get(URI).error)
    assert polls.get(URI) == Sighting(FIRST, {"reason": failure.reason, "message": str(failure)})
    looks = inputs.looks[URI]
    await eventually(lambda: inputs.looks[URI] > looks + 2)
    assert news["a"] == 2
    inputs.answer = FIRST
    await eventually(lambda: polls.get(URI) == Sighting(FIRST))


async def test_absent_store_is_asked_again_as_soon_as_it_may_be(polls: Polls, inputs: FakeInputs) -> None:
    inputs.answer = StoreUnreachable("down")
    inputs.retry = 0.05
    polls.subscribe("a", [URI], 3600, {})
    await eventually(lambda: inputs.looks[URI] >= 3)


async def test_defect_says_nothing_about_the_input(polls: Polls, inputs: FakeInputs) -> None:
    polls.subscribe("a", [URI], 0.02, {})
    await eventually(lambda: polls.get(URI).seen)
    inputs.answer = RuntimeError("defect")
    looks = inputs.looks[URI]
    await eventually(lambda: inputs.looks[URI] > looks + 2)
    assert polls.get(URI) == Sighting(FIRST)


async def test_what_an_earlier_agent_saw_is_known_at_once_and_looked_at_later(polls: Polls, inputs: FakeInputs) -> None:
    before = Sighting(FIRST, {"reason": "StoreUnreachable", "message": "down"})
    polls.subscribe("a", [URI], 3600, {URI: before})
    await polls.wait_for_first([URI], 0.1)
    assert polls.get(URI) == before
    assert inputs.remembered == {URI: FIRST}
    polls.subscribe("b", ["s3://b/x"], 0.05, {"s3://b/x": Sighting(SECOND)})
    await eventually(lambda: inputs.looks["s3://b/x"] >= 1)


async def test_new_uri_is_waited_for_and_not_for_ever(polls: Polls, inputs: FakeInputs) -> None:
    polls.subscribe("a", [URI], 3600, {})
    await polls.wait_for_first([URI], 10)
    assert polls.get(URI) == Sighting(FIRST)
    inputs.answer = RuntimeError("defect")
    polls.subscribe("b", ["s3://b/other"], 3600, {})
    await polls.wait_for_first(["s3://b/other"], 0.05)
    assert polls.get("s3://b/other") == Sighting()


async def test_nobody_wants_to_know_nobody_looks(polls: Polls, inputs: FakeInputs) -> None:
    polls.subscribe("a", [URI, "s3://b/x"], 0.02, {})
    await eventually(lambda: inputs.looks["s3://b/x"])
    polls.subscribe("a", [URI], 0.02, {})
    looks = inputs.looks["s3://b/x"]
    polls.unsubscribe("a")
    before = inputs.looks[URI]
    await asyncio.sleep(0.1)
    assert (inputs.looks["s3://b/x"], inputs.looks[URI]) == (looks, before)
    with pytest.raises(KeyError):
        polls.get(URI)
