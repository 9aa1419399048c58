import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.agent.inputs import Inputs
from modelyard.agent.lookout import Lookout
from modelyard.agent.metrics import Metrics
from modelyard.agent.sightings import SeenInput
from modelyard.storage.errors import StoreUnreachable
from modelyard.storage.sources import Listing


class FakeLookout(Lookout):
    """Counts what is asked of the store."""

    def __init__(self) -> None:
        super().__init__("s3://b/")
        self.down = False
        self.lists = 0
        self.reads = 0
        self.held = threading.Event()
        self.held.set()

    def list_input(self, uri: str) -> Listing:
        self.lists += 1
        self.held.wait(10)
        if self.down:
            raise StoreUnreachable(f"{uri}: down")
        return Listing(uri, (), "fingerprint")

    def read(self, listing: Listing) -> SeenInput:
        self.reads += 1
        seen = SeenInput("sha256:1", 1, fingerprint=listing.fingerprint)
        self.remember(listing.uri, seen)
        return seen


@pytest.fixture
def lookout() -> FakeLookout:
    return FakeLookout()


@pytest.fixture
def inputs(lookout: FakeLookout) -> Iterator[Inputs]:
    with ThreadPoolExecutor(2) as pool:
        yield Inputs(lookout, Metrics(), pool, 2)


async def test_all_who_ask_at_once_share_one_look(inputs: Inputs, lookout: FakeLookout) -> None:
    lookout.held.clear()
    looks = [asyncio.create_task(inputs.look("s3://b/x")) for _ in range(20)]
    await asyncio.sleep(0.05)
    lookout.held.set()
    assert len({(await look).digest for look in looks}) == 1
    assert (lookout.lists, lookout.reads) == (1, 1)


async def test_unchanged_listing_is_not_read_again(inputs: Inputs, lookout: FakeLookout) -> None:
    for _ in range(3):
        await inputs.look("s3://b/x")
    assert (lookout.lists, lookout.reads) == (3, 1)


async def test_outage_stops_the_queue_and_other_stores_are_asked(inputs: Inputs, lookout: FakeLookout) -> None:
    lookout.down = True
    looks = await asyncio.gather(*(inputs.look(f"s3://b/{n}") for n in range(100)), return_exceptions=True)
    assert all(isinstance(look, StoreUnreachable) for look in looks)
    assert lookout.lists <= 5
    assert inputs.retry_seconds("s3://b/other/prefix/") > 0
    assert inputs.retry_seconds("s3://other/x") == 0
    lookout.down = False
    assert (await inputs.look("s3://other/x")).digest == "sha256:1"


async def test_one_who_goes_away_takes_the_look_from_nobody(inputs: Inputs, lookout: FakeLookout) -> None:
    lookout.held.clear()
    first, second = (asyncio.create_task(inputs.look("s3://b/x")) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    lookout.held.set()
    assert (await second).digest == "sha256:1"
    assert lookout.lists == 1
