import asyncio

import pytest

from modelyard.agent.breaker import LONGEST_SECONDS, Breaker
from modelyard.storage.errors import ObjectNotFound, StorageError, StoreUnreachable


class Shop:
    """A store with a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.failure: StorageError | None = StoreUnreachable("no connection")
        self.breaker = Breaker("s3://b", lambda: self.now)

    async def ask(self) -> str:
        self.asked += 1
        if self.failure:
            raise self.failure
        return "answer"

    async def fails(self) -> str:
        with pytest.raises(StoreUnreachable) as caught:
            await self.breaker.call(self.ask)
        return str(caught.value)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_one_failure_stops_nobody(shop: Shop) -> None:
    await shop.fails()
    shop.failure = None
    assert await shop.breaker.call(shop.ask) == "answer"
    assert not shop.breaker.is_open


async def test_absent_store_is_asked_ever_more_seldom_until_it_answers(shop: Shop) -> None:
    for _ in range(10_000):
        await shop.fails()
        shop.now += 0.1
    assert 15 <= shop.asked <= 45  # of 10,000 who wanted to ask within 1,000 s
    assert 0 < shop.breaker.retry_seconds <= LONGEST_SECONDS
    shop.failure = None
    shop.now += LONGEST_SECONDS
    assert await shop.breaker.call(shop.ask) == "answer"
    assert await shop.breaker.call(shop.ask) == "answer"


async def test_message_is_the_same_whoever_asked(shop: Shop) -> None:
    messages = {await shop.fails()}
    shop.failure = StoreUnreachable("status 503")
    for _ in range(5):
        messages.add(await shop.fails())
        shop.now += LONGEST_SECONDS
    assert messages == {"s3://b: the store does not answer; it is asked again until it does"}


async def test_one_alone_finds_out_whether_the_store_is_back(shop: Shop) -> None:
    await shop.fails()
    await shop.fails()
    shop.now += LONGEST_SECONDS
    answered = asyncio.Event()

    async def slow() -> str:
        await answered.wait()
        return "answer"

    probe = asyncio.create_task(shop.breaker.call(slow))
    await asyncio.sleep(0)
    before = shop.asked
    await shop.fails()
    assert shop.asked == before
    answered.set()
    assert await probe == "answer"
    assert not shop.breaker.is_open


async def test_cancelled_probe_leaves_the_way_free_for_the_next(shop: Shop) -> None:
    await shop.fails()
    await shop.fails()
    shop.now += LONGEST_SECONDS
    probe = asyncio.create_task(shop.breaker.call(lambda: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.wait([probe])
    shop.failure = None
    assert await shop.breaker.call(shop.ask) == "answer"


async def test_those_who_asked_before_it_was_known_count_once(shop: Shop) -> None:
    answered = asyncio.Event()

    async def fail() -> None:
        await answered.wait()
        raise StoreUnreachable("no connection")

    calls = [asyncio.create_task(shop.breaker.call(fail)) for _ in range(20)]
    await asyncio.sleep(0)
    answered.set()
    await asyncio.wait(calls)
    assert all(call.exception() for call in calls)
    assert 0 < shop.breaker.retry_seconds <= 2


async def test_refusal_is_an_answer(shop: Shop) -> None:
    await shop.fails()
    shop.failure = ObjectNotFound("x")
    with pytest.raises(ObjectNotFound):
        await shop.breaker.call(shop.ask)
    shop.failure = StoreUnreachable("no connection")
    await shop.fails()
    assert not shop.breaker.is_open
