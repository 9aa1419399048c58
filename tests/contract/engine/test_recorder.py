from datetime import UTC, datetime, timedelta

import pytest

from modelyard.controller.engine.events import BURST, Recorder
from modelyard.controller.engine.kube import KubeClient
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.plan import Event
from tests.support.fake_kube import FakeKube
from tests.support.widgets import widget

PATH = "/api/v1/namespaces/a/events"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def time(self) -> datetime:
        return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(client: KubeClient, clock: Clock) -> Recorder:
    return Recorder(client, component="engine-test", instance="pod-1", clock=clock, now=clock.time)


def subject(name: str = "one") -> Manifest:
    manifest = widget("a", name)
    manifest["metadata"]["uid"] = f"uid-of-{name}"
    return manifest


def posted(fake: FakeKube) -> list[tuple[str, int, str, str]]:
    return [
        (event["reason"], event["count"], event["firstTimestamp"][11:], event["lastTimestamp"][11:])
        for path, event in fake.objects.items()
        if path.startswith(PATH)
    ]


async def test_recorder_counts_repeats_within_ten_minutes(fake: FakeKube, recorder: Recorder, clock: Clock) -> None:
    event = Event("Warning", "Failed", "step train failed")
    await recorder.record(subject(), event)
    clock.now += 300
    await recorder.record(subject(), event)
    await recorder.record(subject(), Event("Warning", "Failed", "another message"))
    assert posted(fake) == [("Failed", 2, "00:00:00Z", "00:05:00Z"), ("Failed", 1, "00:05:00Z", "00:05:00Z")]
    clock.now += 601
    await recorder.record(subject(), event)
    assert posted(fake)[0] == ("Failed", 1, "00:15:01Z", "00:15:01Z")


async def test_recorder_says_what_it_is_about(fake: FakeKube, recorder: Recorder) -> None:
    await recorder.record(subject(), Event("Normal", "Done", "x" * 2000))
    (event,) = fake.objects.values()
    assert event["involvedObject"] == {
        "apiVersion": "engine.test/v1",
        "kind": "Widget",
        "namespace": "a",
        "name": "one",
        "uid": "uid-of-one",
    }
    assert (event["reportingComponent"], event["reportingInstance"]) == ("engine-test", "pod-1")
    assert len(event["message"]) == 1024


async def test_recorder_drops_a_flood_of_one_object_and_lets_others_speak(
    fake: FakeKube, recorder: Recorder, clock: Clock
) -> None:
    for number in range(BURST + 10):
        await recorder.record(subject(), Event("Normal", "Flood", str(number)))
    assert len(posted(fake)) == BURST
    await recorder.record(subject("two"), Event("Normal", "Calm", ""))
    clock.now += 300
    await recorder.record(subject(), Event("Normal", "Flood", "later"))
    await recorder.record(subject(), Event("Normal", "Flood", "at once"))
    assert len(posted(fake)) == BURST + 2
