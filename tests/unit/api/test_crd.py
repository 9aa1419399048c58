import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dev import generate
from modelyard.api.schema import custom_resource_definition
from modelyard.api.v1alpha1 import KINDS, Deployment, ModelVersion, Observation, Pipeline, TrainingRun
from modelyard.api.v1alpha1.common import CustomResource

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def test_generated_files_are_up_to_date() -> None:
    assert [str(path) for path, _ in generate.differences(generate.REPOSITORY)] == []


def test_check_names_a_file_that_was_edited_or_left_over(tmp_path: Any) -> None:
    for path, text in generate.generated():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert list(generate.differences(tmp_path)) == []
    (tmp_path / "crds/old.modelyard.dev.yaml").write_text("")
    (tmp_path / "docs/reference/deployment.md").write_text("edited")
    assert {str(path) for path, _ in generate.differences(tmp_path)} == {
        "crds/old.modelyard.dev.yaml",
        "docs/reference/deployment.md",
    }


@each_kind
def test_yaml_has_no_anchors_and_reads_back(kind: type[CustomResource]) -> None:
    definition = custom_resource_definition(kind)
    text = generate.to_yaml(definition)
    assert "&id" not in text
    assert yaml.safe_load(text) == definition
    assert text == generate.to_yaml(json.loads(json.dumps(definition, sort_keys=True)))


@each_kind
def test_names_are_complete_and_short_names_are_unique(kind: type[CustomResource]) -> None:
    names = custom_resource_definition(kind)["spec"]["names"]
    assert names.get("categories", []) == ([] if kind is Observation else ["modelyard"])
    assert names["kind"] == kind.__name__
    others = [name for other in KINDS if other is not kind for name in other.short_names]
    assert not set(others) & set(kind.short_names)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        (Pipeline, "Ready Reason Runs Last Run Last Version Next Age Message"),
        (TrainingRun, "Ready Reason Model Step Progress Trigger Version Started Completed Age Message"),
        (ModelVersion, "Ready Reason Model Version Format Accepted Metric Comparison Champion Age Message"),
        (Deployment, "Ready Reason Model Wanted Serving Candidate URL Age Message"),
        (Observation, "Kind Subject Observed Age"),
    ],
)
def test_columns_begin_with_ready_and_end_with_age(kind: type[CustomResource], columns: str) -> None:
    version = _version(kind)
    assert " ".join(column["name"] for column in version["additionalPrinterColumns"]) == columns


@each_kind
def test_column_shows_a_field_that_exists(kind: type[CustomResource]) -> None:
    schema = _version(kind)["schema"]["openAPIV3Schema"]
    for column in _version(kind)["additionalPrinterColumns"]:
        path = column["jsonPath"]
        if not path.startswith((".metadata.", ".status.conditions[")):
            assert _resolve(schema, path), path


def test_subresources_are_those_that_the_kind_has() -> None:
    assert _version(TrainingRun)["subresources"] == {"status": {}}
    assert set(_version(Deployment)["subresources"]) == {"status", "scale"}
    assert "subresources" not in _version(Observation)
    schema = _version(Deployment)["schema"]["openAPIV3Schema"]
    for path in _version(Deployment)["subresources"]["scale"].values():
        assert _resolve(schema, path), path


@each_kind
def test_status_has_no_defaults(kind: type[CustomResource]) -> None:
    properties = _version(kind)["schema"]["openAPIV3Schema"]["properties"]
    assert [path for path, node in _nodes(properties.get("status", {}), "status") if "default" in node] == []


@pytest.mark.parametrize("kind", [TrainingRun, ModelVersion])
def test_each_immutable_field_has_its_rule(kind: type[CustomResource]) -> None:
    spec = _version(kind)["schema"]["openAPIV3Schema"]["properties"]["spec"]
    mutable = kind.model_fields["spec"].annotation.mutable  # type: ignore[union-attr]
    for name, node in spec["properties"].items():
        messages = [rule["message"] for rule in node.get("x-kubernetes-validations", [])]
        assert (f"must not change `{name}` after creation" in messages) == (name not in mutable)


def test_order_of_an_immutable_list_counts() -> None:
    steps = _version(TrainingRun)["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["steps"]
    rules = [rule["rule"] for rule in steps["x-kubernetes-validations"]]
    assert rules == ["self == oldSelf && self.map(item, item.name) == oldSelf.map(item, item.name)"]


def _version(kind: type[CustomResource]) -> dict[str, Any]:
    version: dict[str, Any] = custom_resource_definition(kind)["spec"]["versions"][0]
    return version


def _resolve(schema: dict[str, Any], path: str) -> dict[str, Any] | None:
    node: dict[str, Any] | None = schema
    for name in path.removeprefix(".").split("."):
        node = (node or {}).get("properties", {}).get(name)
    return node


def _nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from _nodes(node["items"], f"{path}[]")
