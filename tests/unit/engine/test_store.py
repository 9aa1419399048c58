from collections.abc import Iterable

import pytest

from modelyard.controller.engine.manifests import Manifest, ResourceType
from modelyard.controller.engine.store import Store

PODS = ResourceType("", "v1", "pods", "Pod")

Change = tuple[str | None, str | None]


def pod(name: str, version: int, *, uid: str = "", color: str = "red", namespace: str = "a") -> Manifest:
    metadata = {"namespace": namespace, "name": name, "uid": uid or name, "resourceVersion": str(version)}
    return {"kind": "Pod", "metadata": {**metadata, "labels": {"color": color}, "managedFields": [{}]}}


def colors(manifest: Manifest) -> Iterable[str]:
    return [manifest["metadata"]["labels"]["color"]]


@pytest.fixture
def store() -> Store:
    return Store(PODS, indices={"color": colors})


@pytest.fixture
def changes(store: Store) -> list[Change]:
    """The versions before and after of every change."""
    told: list[Change] = []

    def version(manifest: Manifest | None) -> str | None:
        return manifest["metadata"]["resourceVersion"] if manifest else None

    store.subscribe(lambda old, new: told.append((version(old), version(new))))
    return told


def names(manifests: Iterable[Manifest]) -> list[str]:
    return sorted(manifest["metadata"]["name"] for manifest in manifests)


def test_store_tells_of_changes_and_keeps_indices(store: Store, changes: list[Change]) -> None:
    store.put(pod("x", 1))
    store.put(pod("x", 2, color="blue"))
    assert (store.by_index("color", "red"), names(store.by_index("color", "blue"))) == ([], ["x"])
    store.remove(pod("x", 3))
    assert (store.get("a", "x"), store.by_index("color", "blue"), store.size) == (None, [], 0)
    assert changes == [(None, "1"), ("1", "2"), ("2", None)]


def test_store_ignores_what_is_not_newer(store: Store, changes: list[Change]) -> None:
    assert store.put(pod("x", 10))
    assert not store.put(pod("x", 10))
    assert not store.put(pod("x", 9))
    assert changes == [(None, "10")]


def test_store_keeps_a_successor_when_its_predecessor_is_removed(store: Store) -> None:
    store.put(pod("x", 5, uid="second"))
    assert not store.remove(pod("x", 4, uid="first"))
    assert store.get("a", "x")


def test_store_finds_what_a_full_list_lacks(store: Store, changes: list[Change]) -> None:
    store.put(pod("stays", 1))
    store.put(pod("vanished", 2))
    store.put(pod("newer", 20))
    changes.clear()

    assert store.replace([pod("stays", 1), pod("added", 3)], version=10) == 2

    assert names(store.all()) == ["added", "newer", "stays"]
    assert changes == [(None, "3"), ("2", None)]


def test_store_leaves_other_namespaces_alone_when_one_was_listed(store: Store) -> None:
    store.put(pod("x", 1))
    store.put(pod("y", 1, namespace="b"))
    store.replace([], version=10, namespace="a")
    assert names(store.all()) == ["y"]
    assert names(store.all("b")) == ["y"]


def test_store_drops_managed_fields(store: Store) -> None:
    store.put(pod("x", 1))
    found = store.get("a", "x")
    assert found is not None
    assert "managedFields" not in found["metadata"]


def test_store_is_not_haunted_by_the_answer_of_a_write_that_a_deletion_has_overtaken(store: Store) -> None:
    store.put(pod("x", 1))
    store.remove(pod("x", 3))
    assert not store.put(pod("x", 2))
    assert store.get("a", "x") is None
    assert store.put(pod("x", 4)), "one whose labels were only taken off for a while comes back"


def test_store_knows_of_a_deletion_that_came_before_the_object(store: Store) -> None:
    store.remove(pod("x", 3))
    assert not store.put(pod("x", 2))
    assert store.put(pod("x", 5, uid="successor"))
