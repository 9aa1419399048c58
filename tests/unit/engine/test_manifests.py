import pytest

from modelyard.controller.engine.manifests import (
    Manifest,
    Ref,
    ResourceType,
    TypeTable,
    adopt,
    digest_of,
    owner_reference,
    owner_uid_of,
    ref_of,
    without_nulls,
)

OWNER: Manifest = {
    "apiVersion": "x.test/v1",
    "kind": "Widget",
    "metadata": {"namespace": "a", "name": "one", "uid": "u1"},
}


def child(namespace: str = "a") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": "p", "labels": {"x": "y"}},
    }


def test_adopt_adds_controller_reference_and_label_to_a_copy() -> None:
    original = child()
    adopted = adopt(original, OWNER)

    assert adopted["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "x.test/v1",
            "kind": "Widget",
            "name": "one",
            "uid": "u1",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert adopted["metadata"]["labels"] == {"x": "y", "modelyard.dev/owner-uid": "u1"}
    assert original == child()


def test_adopt_refuses_a_child_of_another_namespace() -> None:
    with pytest.raises(ValueError, match="same namespace, 'a' is not 'b'"):
        adopt(child("b"), OWNER)


def test_adopt_lets_a_cluster_scoped_owner_have_namespaced_children() -> None:
    owner = {**OWNER, "metadata": {"name": "one", "uid": "u1"}}
    assert owner_uid_of(adopt(child("b"), owner)) == "u1"


def test_owner_reference_refuses_an_owner_without_uid() -> None:
    with pytest.raises(ValueError, match=r"Widget one: an owner must have metadata\.uid"):
        owner_reference({**OWNER, "metadata": {"name": "one"}})


def test_owner_uid_prefers_the_controller_to_the_label() -> None:
    adopted = adopt(child(), OWNER)
    adopted["metadata"]["labels"]["modelyard.dev/owner-uid"] = "other"
    assert owner_uid_of(adopted) == "u1"
    assert owner_uid_of(child()) == ""


def test_ref_of_is_bound_to_the_uid() -> None:
    assert ref_of(OWNER) == Ref("x.test/v1", "Widget", "a", "one", "u1")
    assert ref_of(child()).uid is None


def test_without_nulls_drops_only_nulls() -> None:
    assert without_nulls({"a": None, "b": [{"c": None, "d": 0}], "e": ""}) == {"b": [{"d": 0}], "e": ""}


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})


def test_type_table_names_what_it_knows() -> None:
    table = TypeTable.of(ResourceType("", "v1", "pods", "Pod"))
    assert table.of_manifest(child()).plural == "pods"
    with pytest.raises(LookupError, match=r"x\.test/v1/Widget is not a known resource type; known: v1/Pod"):
        table.of_manifest(OWNER)
