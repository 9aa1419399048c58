"""What the writer makes of answers that a real API server gives too seldom; the rest is in tests/cluster/engine."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from modelyard.controller.engine.apply import Writer
from modelyard.controller.engine.conditions import Condition
from modelyard.controller.engine.errors import Terminal, Transient, Waiting
from modelyard.controller.engine.events import Recorder
from modelyard.controller.engine.kube import KubeClient
from modelyard.controller.engine.manifests import Manifest, Ref
from modelyard.controller.engine.plan import Event, Plan
from modelyard.controller.engine.store import Store, Stores
from tests.support.fake_kube import FakeKube, failure
from tests.support.widgets import JOBS, WIDGETS, decide, job, widget

WIDGET_PATH = "/apis/engine.test/v1/namespaces/a/widgets"
JOB_PATH = "/apis/batch/v1/namespaces/a/jobs"
EVENT_PATH = "/api/v1/namespaces/a/events"


class Leadership:
    def __init__(self) -> None:
        self.held = True

    def __call__(self) -> bool:
        return self.held


@pytest.fixture
def leadership() -> Leadership:
    return Leadership()


@pytest.fixture
def stores() -> Stores:
    return Stores([Store(WIDGETS), Store(JOBS)])


@pytest.fixture
def writer(client: KubeClient, stores: Stores, leadership: Leadership) -> Writer:
    return Writer(
        client,
        field_manager="engine-test",
        stores=stores,
        recorder=Recorder(client, component="engine-test", instance="test"),
        may_write=leadership,
        now=lambda: datetime(2026, 5, 1, tzinfo=UTC),
    )


@pytest.fixture
def parent(fake: FakeKube) -> Manifest:
    return fake.put(WIDGET_PATH, widget("a", "one"))


def status(fake: FakeKube) -> dict[str, Any]:
    found: dict[str, Any] = fake.objects[f"{WIDGET_PATH}/one"].get("status", {})
    return found


def reasons(fake: FakeKube) -> list[str]:
    return [event["reason"] for path, event in fake.objects.items() if path.startswith(EVENT_PATH)]


def busy(seconds: int) -> Callable[[web.Request], web.Response]:
    headers = {"Retry-After": str(seconds)}
    return lambda _: web.json_response(failure(429, "TooManyRequests"), status=429, headers=headers)


async def test_writer_passes_on_how_long_the_server_asks_to_wait(
    fake: FakeKube, writer: Writer, parent: Manifest
) -> None:
    fake.fail("POST", JOB_PATH, busy(7))
    with pytest.raises(Transient) as error:
        await writer.execute(parent, decide(parent))
    assert error.value.retry_after == 7
    assert (status(fake), reasons(fake)) == ({}, [])


async def test_writer_reports_what_it_may_not_do_with_one_event_and_tries_again_slowly(
    fake: FakeKube, writer: Writer, parent: Manifest
) -> None:
    fake.fail("POST", JOB_PATH, 403, times=2)
    known = {"type": "Done", "status": "True", "reason": "x", "observedGeneration": 1}
    parent = fake.put(WIDGET_PATH, {**parent, "status": {"text": "before", "conditions": [known]}})
    for _ in range(2):
        with pytest.raises(Waiting) as error:
            await writer.execute(parent, decide(parent))
        assert error.value.delay == 60
        parent = fake.objects[f"{WIDGET_PATH}/one"]
    assert status(fake)["text"] == "before"
    assert [(item["type"], item["reason"]) for item in status(fake)["conditions"]] == [
        ("Ready", "Forbidden"),
        ("Done", "x"),
    ]
    assert reasons(fake) == ["Forbidden"]
    event = next(event for path, event in fake.objects.items() if path.startswith(EVENT_PATH))
    assert (event["type"], event["count"]) == ("Warning", 1)


async def test_writer_posts_no_event_and_deletes_nothing_when_the_status_write_fails(
    fake: FakeKube, writer: Writer, parent: Manifest
) -> None:
    fake.put(JOB_PATH, {**job(parent), "metadata": {"namespace": "a", "name": "old"}})
    fake.fail("PATCH", "/widgets/one/status", 500)
    plan = Plan(status={"text": "x"}, events=(Event("Normal", "Done", "x"),), delete=(job_ref("old"),))
    with pytest.raises(Transient):
        await writer.execute(parent, plan)
    assert reasons(fake) == []
    assert f"{JOB_PATH}/old" in fake.objects


def job_ref(name: str) -> Ref:
    return Ref("batch/v1", "Job", "a", name)


async def test_writer_does_not_fail_when_an_event_is_refused(fake: FakeKube, writer: Writer, parent: Manifest) -> None:
    fake.fail("PATCH", EVENT_PATH, 403)
    assert await writer.execute(parent, Plan(events=(Event("Normal", "Done", "x"),), requeue_after=9)) == 9


async def test_writer_waits_for_an_object_that_is_being_deleted(
    fake: FakeKube, writer: Writer, stores: Stores, parent: Manifest
) -> None:
    dying = job(parent)
    dying["metadata"]["deletionTimestamp"] = "2026-05-01T00:00:00Z"
    stores.put(fake.put(JOB_PATH, dying))
    with pytest.raises(Waiting, match="Job one-1 is being deleted"):
        await writer.execute(parent, Plan(create=(job(parent),)))
    assert await writer.execute(parent, Plan(delete=(job_ref("one-1"),))) is None
    assert f"{JOB_PATH}/one-1" in fake.objects


async def test_writer_takes_a_conflict_without_an_object_for_a_reason_to_wait(
    fake: FakeKube, writer: Writer, parent: Manifest
) -> None:
    fake.fail("POST", JOB_PATH, 409)
    with pytest.raises(Waiting):
        await writer.execute(parent, Plan(create=(job(parent),)))


async def test_writer_does_not_try_again_what_the_schema_of_status_refuses(
    fake: FakeKube, writer: Writer, parent: Manifest
) -> None:
    fake.fail("PATCH", "/widgets/one/status", 422)
    with pytest.raises(Terminal):
        await writer.execute(parent, Plan(status={"text": "x"}))


async def test_writer_refuses_a_child_in_another_namespace_than_its_owner(writer: Writer, parent: Manifest) -> None:
    child = job(parent)
    child["metadata"]["namespace"] = "b"
    with pytest.raises(ValueError, match="same namespace"):
        await writer.execute(parent, Plan(create=(child,)))


@pytest.mark.parametrize(
    "plan",
    [
        lambda parent: Plan(create=(job(parent),)),
        lambda parent: Plan(apply=(job(parent),)),
        lambda parent: Plan(status={"text": "x"}, conditions=(Condition("Ready", "True", "Done"),)),
        lambda _: Plan(delete=(job_ref("one-1"),)),
    ],
)
async def test_writer_writes_nothing_once_the_lease_is_not_held(
    fake: FakeKube,
    writer: Writer,
    parent: Manifest,
    leadership: Leadership,
    plan: Callable[[Manifest], Plan],
) -> None:
    leadership.held = False
    with pytest.raises(Transient, match="does not lead"):
        await writer.execute(parent, plan(parent))
    assert {method for method, _ in fake.requests} <= {"GET"}


async def test_writer_applies_only_once_what_the_server_always_writes_in_another_way(
    fake: FakeKube, writer: Writer, stores: Stores, parent: Manifest
) -> None:
    async def mutate(request: web.Request) -> web.Response:
        body = await request.json()
        body["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
        return web.json_response(fake.put(JOB_PATH, body))

    fake.fail("PATCH", JOB_PATH, mutate, times=10)
    for _ in range(3):
        await writer.execute(parent, Plan(apply=(job(parent),)))
    assert [method for method, path in fake.requests if path.startswith(JOB_PATH)] == ["GET", "PATCH"]
