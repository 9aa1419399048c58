"""What must not change after creation: each field is changed, removed and added."""

from typing import Any

import pytest

from modelyard.api.schema import custom_resource_definition
from modelyard.api.schema.crd import model_of
from modelyard.api.v1alpha1 import KINDS
from tests.cluster.api.conftest import RefusedError, Resources
from tests.cluster.api.objects import FULL, MINIMAL, OTHER_DIGEST

pytestmark = pytest.mark.cluster

STEPS = FULL["TrainingRun"]["spec"]["steps"]
CHANGES: dict[str, dict[str, Any]] = {
    "TrainingRun": {
        "model": "other",
        "trigger": {"reason": "Manual"},
        "requestedBy": "bob@example.com",
        "inputs": [{"name": "flights", "uri": "s3://bucket/other/"}, {"name": "code", "uri": "s3://bucket/c"}],
        "parameters": [{"name": "maxDepth", "value": "7"}],
        "seed": 8,
        "steps": [STEPS[0], {**STEPS[1], "args": ["x"]}],
        "evaluation": {"minimumRows": 1},
        "backoffLimit": 2,
        "activeDeadlineSeconds": 61,
    },
    "ModelVersion": {
        "model": "m-v1",
        "version": 2,
        "artifact": {"digest": OTHER_DIGEST},
        "lineage": {"seed": 1},
        "evaluation": {"value": "0.99"},
        "card": {"owner": "bob@example.com"},
    },
}
DEFAULTS = {"suspend": False}
MUTABLE: dict[str, dict[str, Any]] = {
    "TrainingRun": {"suspend": False, "ttlSecondsAfterFinished": 61},
    "ModelVersion": {"retired": {"reason": "other"}},
}
DEFAULTED = {("ModelVersion", "format")}
"""Fields that cannot be absent, since they have a default."""
FIXED = [(kind, field) for kind, changes in CHANGES.items() for field in changes]


def test_each_field_is_mutable_or_has_a_case() -> None:
    specs = {kind.kind: model_of(kind, "spec") for kind in KINDS}
    immutable = {kind: spec for kind, spec in specs.items() if spec.mutable}
    assert immutable.keys() == CHANGES.keys()
    for kind, spec in immutable.items():
        names = {(kind, info.alias) for info in spec.model_fields.values()}
        assert names == {(kind, field) for field in CHANGES[kind] | MUTABLE[kind]} | (DEFAULTED & names)
        assert frozenset(MUTABLE[kind]) == spec.mutable


def test_format_must_not_change(resources: Resources) -> None:
    refused = _refusal(resources, "ModelVersion", FULL, "format", "Pickle")
    assert "must not change `format` after creation" in refused


@pytest.mark.parametrize(("kind", "field"), FIXED)
def test_field_must_not_change(resources: Resources, kind: str, field: str) -> None:
    assert f"must not change `{field}` after creation" in _refusal(resources, kind, FULL, field, CHANGES[kind][field])


@pytest.mark.parametrize(("kind", "field"), FIXED)
def test_field_must_not_be_removed(resources: Resources, kind: str, field: str) -> None:
    expected = f"spec.{field}: Required value" if _required(kind, field) else f"`{field}` after creation"
    assert expected in _refusal(resources, kind, FULL, field, None)


@pytest.mark.parametrize(("kind", "field"), [case for case in FIXED if case[1] not in MINIMAL[case[0]]["spec"]])
def test_field_must_not_be_added(resources: Resources, kind: str, field: str) -> None:
    value = FULL[kind]["spec"][field]
    messages = _refusal(resources, kind, MINIMAL, field, value)
    assert f"must not {'change' if _default(kind, field) else 'add or remove'} `{field}` after creation" in messages


def test_order_of_steps_must_not_change(resources: Resources) -> None:
    steps = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]
    resources.create(MINIMAL["TrainingRun"] | {"spec": {"model": "m", "steps": steps}})
    with pytest.raises(RefusedError, match="must not change `steps` after creation"):
        resources.patch("TrainingRun", "run", {"spec": {"steps": steps[::-1]}})


@pytest.mark.parametrize("kind", MUTABLE)
def test_mutable_field_is_changed_removed_and_added(resources: Resources, kind: str) -> None:
    name = FULL[kind]["metadata"]["name"]
    resources.create(FULL[kind])
    for field, value in MUTABLE[kind].items():
        for wanted in (value, None, FULL[kind]["spec"][field]):
            stored = resources.patch(kind, name, {"spec": {field: wanted}})
            assert stored["spec"].get(field) == (DEFAULTS.get(field) if wanted is None else wanted)


def _refusal(resources: Resources, kind: str, objects: dict[str, Any], field: str, value: Any) -> str:
    resources.create(objects[kind])
    with pytest.raises(RefusedError) as refused:
        resources.patch(kind, objects[kind]["metadata"]["name"], {"spec": {field: value}})
    return str(refused.value)


def _spec(kind: str) -> dict[str, Any]:
    definition = next(custom_resource_definition(k) for k in KINDS if k.kind == kind)
    spec: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def _required(kind: str, field: str) -> bool:
    return field in _spec(kind)["required"]


def _default(kind: str, field: str) -> bool:
    return "default" in _spec(kind)["properties"][field]
