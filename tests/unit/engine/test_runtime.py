from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry

from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.metrics import Metrics
from modelyard.controller.engine.queue import WorkQueue
from modelyard.controller.engine.runtime import controller_keys, enqueue
from tests.support.widgets import job, widget


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(Metrics(CollectorRegistry()).queue("widget"))


def labelled(name: str) -> Manifest:
    return {"kind": "Pod", "metadata": {"namespace": "a", "name": "pod", "labels": {"widget": name}}}


def by_label(manifest: Manifest) -> Iterable[Key]:
    yield Key("Widget", "a", manifest["metadata"]["labels"]["widget"])


def test_controller_keys_follow_only_controllers_of_the_kind() -> None:
    owner = {**widget("a", "one"), "metadata": {"namespace": "a", "name": "one", "uid": "u"}}
    child = job(owner)
    assert list(controller_keys("Widget")(child)) == [Key("Widget", "a", "one")]
    assert list(controller_keys("Other")(child)) == []
    child["metadata"]["ownerReferences"][0]["controller"] = False
    assert list(controller_keys("Widget")(child)) == []


async def test_a_change_enqueues_what_the_object_belonged_to_and_belongs_to(queue: WorkQueue) -> None:
    enqueue(queue, by_label)(labelled("before"), labelled("after"))
    assert {await queue.get(), await queue.get()} == {Key("Widget", "a", "before"), Key("Widget", "a", "after")}


async def test_an_object_that_is_not_understood_does_no_harm(
    queue: WorkQueue, caplog: pytest.LogCaptureFixture
) -> None:
    enqueue(queue, by_label)({"kind": "Pod", "metadata": {}}, labelled("after"))
    assert await queue.get() == Key("Widget", "a", "after")
    assert caplog.messages == ["object not understood"]
