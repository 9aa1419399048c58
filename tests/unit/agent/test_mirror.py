"""Watches break in ways that a real API server shows only after hours."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from modelyard.agent.kube import ApiError, Page
from modelyard.agent.metrics import Metrics
from modelyard.agent.mirror import Mirror

pytestmark = pytest.mark.usefixtures("_no_pauses")


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.agent.mirror.delays", lambda **_: iter([0.0] * 100))


def _item(name: str, value: int = 0, version: str = "1") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, "spec": {"value": value}}


class ScriptedKube:
    """Answers lists and watches one after the other; at the end it hangs."""

    def __init__(self, *script: Page | ApiError | list[tuple[str, Mapping[str, Any]] | ApiError]) -> None:
        self.script = list(script)
        self.watched: list[str] = []
        self.finished = asyncio.Event()

    async def list(self, plural: str) -> Page:
        answer = await self._next()
        if isinstance(answer, ApiError):
            raise answer
        assert isinstance(answer, Page)
        return answer

    async def watch(self, plural: str, resource_version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self.watched.append(resource_version)
        answer = await self._next()
        assert isinstance(answer, list)
        for event in answer:
            if isinstance(event, ApiError):
                raise event
            yield event[0], dict(event[1])

    async def _next(self) -> Any:
        if not self.script:
            self.finished.set()
            await asyncio.Event().wait()
        return self.script.pop(0)


async def _follow(kube: ScriptedKube) -> tuple[Mirror[int], list[str]]:
    changes: list[str] = []
    mirror = Mirror(kube, "things", lambda item: item["spec"]["value"], changes.append, Metrics())
    task = asyncio.create_task(mirror.run())
    await asyncio.wait_for(kube.finished.wait(), 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return mirror, changes


async def test_gap_in_a_watch_is_closed_by_a_new_list() -> None:
    kube = ScriptedKube(
        Page([_item("kept", 1), _item("changed", 1), _item("gone", 1)], "5"),
        [("ADDED", _item("new", 1, "6")), ApiError(410, "too old")],
        Page([_item("kept", 1), _item("changed", 2), _item("new", 1)], "90"),
    )
    mirror, changes = await _follow(kube)
    assert changes == ["kept", "changed", "gone", "new", "gone", "changed"]
    assert (mirror.get("changed"), mirror.get("gone"), mirror.get("new")) == (2, None, 1)
    assert kube.watched == ["5", "90"]


async def test_watch_goes_on_where_the_last_one_ended() -> None:
    kube = ScriptedKube(
        Page([], "5"),
        [("BOOKMARK", {"metadata": {"resourceVersion": "8"}}), ("ADDED", _item("new", 1, "9"))],
        [("DELETED", _item("new", 1, "12"))],
    )
    mirror, changes = await _follow(kube)
    assert changes == ["new", "new"]
    assert mirror.get("new") is None
    assert kube.watched == ["5", "9", "12"]


async def test_failed_list_is_tried_again() -> None:
    kube = ScriptedKube(ApiError(0, "refused"), ApiError(503, "x"), Page([_item("a", 1)], "1"))
    mirror, changes = await _follow(kube)
    assert changes == ["a"]
    assert mirror.synced.is_set()


async def test_change_of_what_is_not_kept_is_no_change() -> None:
    unchanged = {**_item("a", 1, "2"), "status": {"phase": "other"}}
    _, changes = await _follow(ScriptedKube(Page([_item("a", 1)], "1"), [("MODIFIED", unchanged)]))
    assert changes == ["a"]
