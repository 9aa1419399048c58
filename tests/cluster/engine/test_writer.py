from dataclasses import replace
from typing import Any

import pytest

from modelyard.controller.engine.apply import Writer
from modelyard.controller.engine.conditions import Condition, find_condition, is_true
from modelyard.controller.engine.errors import Terminal, Waiting
from modelyard.controller.engine.events import EVENTS, Recorder
from modelyard.controller.engine.kube import ApiError, KubeClient, Request
from modelyard.controller.engine.manifests import Manifest, Ref, ref_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.store import Store, Stores
from tests.support.controlplane import ClusterAccess
from tests.support.widgets import CONFIG_MAPS, JOBS, WIDGETS, config_map, decide, job, widget

pytestmark = pytest.mark.cluster

WRITES = {"create", "apply", "update", "delete"}


@pytest.fixture
def stores() -> Stores:
    return Stores([Store(WIDGETS), Store(CONFIG_MAPS), Store(JOBS)])


@pytest.fixture
def writer(client: KubeClient, stores: Stores) -> Writer:
    recorder = Recorder(client, component="engine-test", instance="test")
    return Writer(client, field_manager="engine-test", stores=stores, recorder=recorder)


async def stored_widget(client: KubeClient, namespace: str, name: str = "one") -> Manifest:
    return await client.create(widget(namespace, name), field_manager="person")


async def test_writer_converges_in_one_pass_and_then_writes_nothing(
    client: KubeClient, writer: Writer, namespace: str, requests: list[Request]
) -> None:
    await writer.execute(parent := await stored_widget(client, namespace), decide(parent))
    before = await live_versions(client, namespace)
    current = await client.get(WIDGETS, namespace, "one")
    requests.clear()

    await writer.execute(current, decide(current))

    assert [request for request in requests if request.verb in WRITES] == []
    assert await live_versions(client, namespace) == before
    assert is_true(current["status"]["conditions"], "Ready")
    assert current["status"]["observedGeneration"] == current["metadata"]["generation"]


async def test_writer_writes_nothing_after_a_restart(
    client: KubeClient, writer: Writer, namespace: str, requests: list[Request]
) -> None:
    await writer.execute(parent := await stored_widget(client, namespace), decide(parent))
    current = await client.get(WIDGETS, namespace, "one")
    recorder = Recorder(client, component="engine-test", instance="test")
    restarted = Writer(client, field_manager="engine-test", stores=Stores(), recorder=recorder)
    requests.clear()

    await restarted.execute(current, replace(decide(current), create=()))

    assert {request.verb for request in requests} == {"get"}


async def test_writer_sees_no_drift_in_what_the_server_writes_in_another_way(
    client: KubeClient, writer: Writer, namespace: str, requests: list[Request]
) -> None:
    parent = await stored_widget(client, namespace)
    plan = Plan(apply=(job(parent),))
    await writer.execute(parent, plan)
    recorder = Recorder(client, component="engine-test", instance="test")
    restarted = Writer(client, field_manager="engine-test", stores=Stores(), recorder=recorder)
    requests.clear()

    await restarted.execute(parent, plan)

    assert [request.verb for request in requests] == ["get"]


async def live_versions(client: KubeClient, namespace: str) -> list[str]:
    objects = [
        await client.get(WIDGETS, namespace, "one"),
        await client.get(CONFIG_MAPS, namespace, "one"),
        await client.get(JOBS, namespace, "one-1"),
    ]
    return [item["metadata"]["resourceVersion"] for item in objects]


async def test_writer_repairs_drift(client: KubeClient, writer: Writer, stores: Stores, namespace: str) -> None:
    await writer.execute(parent := await stored_widget(client, namespace), decide(parent))
    live = await client.get(CONFIG_MAPS, namespace, "one")
    stores.put(await client.update({**live, "data": {"text": "changed by hand"}}, field_manager="person"))

    await writer.execute(parent, Plan(apply=(config_map(parent, "hello"),)))

    assert (await client.get(CONFIG_MAPS, namespace, "one"))["data"] == {"text": "hello"}


async def test_writer_removes_a_field_that_is_not_wanted_any_more(
    client: KubeClient, writer: Writer, namespace: str
) -> None:
    parent = await stored_widget(client, namespace)
    wanted = config_map(parent, "hello")
    await writer.execute(parent, Plan(apply=({**wanted, "data": {"text": "hello", "more": "x"}},)))
    await writer.execute(parent, Plan(apply=(wanted,)))

    assert (await client.get(CONFIG_MAPS, namespace, "one"))["data"] == {"text": "hello"}


async def test_writer_removes_a_status_field_and_a_condition_that_are_left_out(
    client: KubeClient, writer: Writer, namespace: str
) -> None:
    conditions = (Condition("Ready", "False", "Busy"), Condition("Stalled", "True", "Broken"))
    parent = await stored_widget(client, namespace)
    await writer.execute(parent, Plan(status={"text": "a", "note": "b"}, conditions=conditions))
    parent = await client.get(WIDGETS, namespace, "one")
    await writer.execute(parent, Plan(status={"text": "a"}, conditions=(Condition("Ready", "True", "Done"),)))

    status = (await client.get(WIDGETS, namespace, "one"))["status"]
    assert status.keys() == {"text", "observedGeneration", "conditions"}
    assert [condition["type"] for condition in status["conditions"]] == ["Ready"]


async def test_writer_does_not_write_a_status_that_was_decided_on_an_old_object(
    client: KubeClient, writer: Writer, namespace: str
) -> None:
    parent = await stored_widget(client, namespace)
    await client.apply(widget(namespace, "one", "newer"), field_manager="person")

    with pytest.raises(Waiting, match="409"):
        await writer.execute(parent, Plan(status={"text": "old"}))

    assert "status" not in await client.get(WIDGETS, namespace, "one")


async def test_writer_does_not_write_the_status_of_a_successor_of_the_same_name(
    client: KubeClient, writer: Writer, namespace: str
) -> None:
    parent = await stored_widget(client, namespace)
    await client.delete(ref_of(parent))
    await stored_widget(client, namespace)

    with pytest.raises(Waiting, match="409"):
        await writer.execute(parent, Plan(status={"text": "old"}))


async def test_writer_ends_quietly_when_the_object_is_gone(client: KubeClient, writer: Writer, namespace: str) -> None:
    parent = await stored_widget(client, namespace)
    await client.delete(ref_of(parent))

    assert await writer.execute(parent, Plan(status={"text": "x"}, requeue_after=5)) is None


async def test_writer_makes_no_child_of_an_object_whose_deletion_the_cache_has_missed(
    client: KubeClient, writer: Writer, stores: Stores, namespace: str, requests: list[Request]
) -> None:
    parent = await stored_widget(client, namespace)
    stores.put(parent)
    await client.delete(ref_of(parent))
    requests.clear()

    for plan in (Plan(create=(job(parent),)), Plan(apply=(config_map(parent, "x"),))):
        await writer.execute(parent, plan)

    assert [request for request in requests if request.verb in WRITES] == []
    assert stores.find(parent) is None


async def test_writer_reports_a_foreign_object_and_leaves_it_alone(
    client: KubeClient, writer: Writer, namespace: str
) -> None:
    parent = await stored_widget(client, namespace)
    foreign: Manifest = {**config_map(parent, "mine"), "metadata": {"namespace": namespace, "name": "one"}}
    await client.create(foreign, field_manager="person")

    with pytest.raises(Terminal):
        await writer.execute(parent, decide(parent))

    conditions = (await client.get(WIDGETS, namespace, "one"))["status"]["conditions"]
    assert [(item["type"], item["status"], item["reason"]) for item in conditions] == [
        ("Ready", "False", "Conflict"),
        ("Stalled", "True", "Conflict"),
    ]
    assert (await client.get(CONFIG_MAPS, namespace, "one"))["data"] == {"text": "mine"}


async def test_writer_counts_a_creation_that_happened_already_as_done(
    client: KubeClient, writer: Writer, namespace: str
) -> None:
    parent = await stored_widget(client, namespace)
    made = await client.create(job(parent), field_manager="engine-test")

    await writer.execute(parent, Plan(create=(job(parent),)))

    assert (await client.get(JOBS, namespace, "one-1"))["metadata"]["uid"] == made["metadata"]["uid"]


async def test_writer_reports_what_the_server_finds_invalid_once(
    client: KubeClient, writer: Writer, namespace: str, requests: list[Request]
) -> None:
    parent = await stored_widget(client, namespace)
    plan = replace(decide(parent), create=(job(parent, image=""),))

    with pytest.raises(Terminal):
        await writer.execute(parent, plan)
    parent = await client.get(WIDGETS, namespace, "one")
    ready = find_condition(parent["status"]["conditions"], "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "image" in ready["message"]

    requests.clear()
    with pytest.raises(Terminal):
        await writer.execute(parent, plan)
    assert [request.resource for request in requests if request.verb in WRITES] == ["jobs"]


async def test_writer_ends_quietly_in_a_namespace_that_is_going_away(
    client: KubeClient, writer: Writer, widget_plane: ClusterAccess, namespace: str
) -> None:
    parent = await stored_widget(client, namespace)
    widget_plane.kubectl("delete", "namespace", namespace, "--wait=false")

    assert await writer.execute(parent, decide(parent)) is None


async def test_writer_deletes_only_the_object_that_is_meant(
    client: KubeClient, writer: Writer, stores: Stores, namespace: str
) -> None:
    parent = await stored_widget(client, namespace)
    await writer.execute(parent, Plan(apply=(config_map(parent, "x"),)))
    live = await client.get(CONFIG_MAPS, namespace, "one")

    await writer.execute(parent, Plan(delete=(replace(ref_of(live), uid="00000000-0000-0000-0000-000000000000"),)))
    assert await client.get(CONFIG_MAPS, namespace, "one")

    await writer.execute(parent, Plan(delete=(ref_of(live), Ref("v1", "ConfigMap", namespace, "never-there"))))
    with pytest.raises(ApiError) as error:
        await client.get(CONFIG_MAPS, namespace, "one")
    assert error.value.not_found
    assert stores.find(live) is None


async def test_recorder_counts_repeats_in_one_event(client: KubeClient, writer: Writer, namespace: str) -> None:
    parent = await stored_widget(client, namespace)
    await writer.execute(parent, replace(decide(parent)))
    await writer.execute(parent, Plan(events=decide(parent).events * 2))

    events: list[dict[str, Any]] = []
    async for page in client.list_pages(EVENTS, namespace):
        events += page.items
    assert [(event["reason"], event["count"]) for event in events] == [("Applied", 3)]
