from datetime import UTC, datetime

import pytest

from modelyard.controller.engine.election import Elector, LeadershipLost, LeaseTiming
from modelyard.controller.engine.kube import ApiError, KubeClient
from tests.support.fake_kube import FakeKube

PATH = "/apis/coordination.k8s.io/v1/namespaces/ops/leases"


class Clock:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def elector(client: KubeClient, clock: Clock, identity: str) -> Elector:
    return Elector(
        client,
        namespace="ops",
        name="lease",
        identity=identity,
        timing=LeaseTiming(duration=15, renew_deadline=10, retry=0.01),
        clock=clock,
        now=lambda: datetime(2026, 5, 1, 12, 0, tzinfo=UTC),
    )


def spec(fake: FakeKube) -> dict[str, object]:
    found: dict[str, object] = fake.objects[f"{PATH}/lease"]["spec"]
    return found


async def test_elector_creates_and_renews_the_lease(fake: FakeKube, client: KubeClient, clock: Clock) -> None:
    first = elector(client, clock, "first")
    assert not first.is_leader()
    await first.step()
    assert first.is_leader()
    assert spec(fake) == {
        "holderIdentity": "first",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-05-01T12:00:00.000000Z",
        "renewTime": "2026-05-01T12:00:00.000000Z",
        "leaseTransitions": 0,
    }
    fake.requests.clear()
    clock.now += 2
    await first.step()
    assert fake.requests == [("PUT", f"{PATH}/lease")]


async def test_elector_stands_by_until_the_lease_has_not_changed_for_its_duration(
    fake: FakeKube, client: KubeClient, clock: Clock
) -> None:
    first, second = elector(client, clock, "first"), elector(client, clock, "second")
    await first.step()
    await second.step()
    clock.now += 14
    await first.step()
    await second.step()
    clock.now += 14.9
    await second.step()
    assert not second.is_leader()
    clock.now += 0.2
    await second.step()
    assert second.is_leader()
    assert (spec(fake)["holderIdentity"], spec(fake)["leaseTransitions"]) == ("second", 1)


async def test_elector_is_no_leader_once_its_renewal_is_too_old(client: KubeClient, clock: Clock) -> None:
    first = elector(client, clock, "first")
    await first.step()
    clock.now += 9.9
    assert first.is_leader()
    clock.now += 0.1
    assert not first.is_leader()


async def test_elector_gives_up_when_it_cannot_renew(fake: FakeKube, client: KubeClient, clock: Clock) -> None:
    first = elector(client, clock, "first")
    await first.step()
    fake.fail("PUT", PATH, 500, times=100)
    fake.fail("GET", PATH, 500, times=100)
    clock.now += 10
    with pytest.raises(LeadershipLost, match="not renewed in time"):
        await first.run()


async def test_elector_survives_failures_within_the_renew_deadline(
    fake: FakeKube, client: KubeClient, clock: Clock
) -> None:
    first = elector(client, clock, "first")
    await first.step()
    fake.fail("PUT", PATH, 503)
    with pytest.raises(ApiError):
        await first.step()
    clock.now += 5
    await first.step()
    clock.now += 9
    assert first.is_leader()


async def test_elector_that_was_replaced_is_told_so(fake: FakeKube, client: KubeClient, clock: Clock) -> None:
    first = elector(client, clock, "first")
    await first.step()
    lease = fake.objects[f"{PATH}/lease"]
    fake.put(PATH, {**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}})
    with pytest.raises(ApiError, match="409"):
        await first.step()
    with pytest.raises(LeadershipLost, match="another replica"):
        await first.step()


async def test_elector_lets_only_one_of_two_take_a_free_lease(fake: FakeKube, client: KubeClient, clock: Clock) -> None:
    first, second = elector(client, clock, "first"), elector(client, clock, "second")
    fake.fail("GET", PATH, 404)
    await first.step()
    fake.fail("GET", PATH, 404)
    with pytest.raises(ApiError, match="409"):
        await second.step()
    assert (first.is_leader(), second.is_leader()) == (True, False)


async def test_elector_releases_the_lease_so_that_nobody_waits(
    fake: FakeKube, client: KubeClient, clock: Clock
) -> None:
    first, second = elector(client, clock, "first"), elector(client, clock, "second")
    await first.step()
    await second.release()
    assert spec(fake)["holderIdentity"] == "first"
    await first.release()
    assert not first.is_leader()
    await second.step()
    assert second.is_leader()


async def test_elector_takes_its_own_lease_after_a_restart(client: KubeClient, clock: Clock) -> None:
    await elector(client, clock, "first").step()
    restarted = elector(client, clock, "first")
    await restarted.step()
    assert restarted.is_leader()
