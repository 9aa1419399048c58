"""What every field of every kind has to say: bounds, list type, description."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelyard.api.schema import custom_resource_definition
from modelyard.api.v1alpha1 import KINDS

Node = dict[str, Any]

BOOLEANS = {
    "Pipeline.spec.suspend": "as in batch/v1 CronJob",
    "Pipeline.spec.template.spec.suspend": "as in batch/v1 Job",
    "TrainingRun.spec.suspend": "as in batch/v1 Job",
    "TrainingRun.spec.inputs[].expectations.columns[].nullable": "as in OpenAPI and pandera",
    "TrainingRun.spec.inputs[].expectations.columns[].unique": "as in SQL and pandera",
    "Pipeline.spec.template.spec.inputs[].expectations.columns[].nullable": "as in OpenAPI and pandera",
    "Pipeline.spec.template.spec.inputs[].expectations.columns[].unique": "as in SQL and pandera",
    "Deployment.spec.rollout.paused": "as in apps/v1 Deployment",
}
ENUM_VALUES: dict[str, str] = {
    "champion": "the name of an alias, which people also type as the name of an input",
    "tabular/prepare@v1": "the name of a component, with its version",
    "tabular/train@v1": "the name of a component, with its version",
}


def _nodes(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """Yield everything under `node` but `node` itself."""
    children = {f"{path}.{name}": child for name, child in node.get("properties", {}).items()}
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            children[path + suffix] = node[key]
    for name, child in children.items():
        yield name, child
        yield from _nodes(child, name)


def _all_nodes() -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    for kind in KINDS:
        version = custom_resource_definition(kind)["spec"]["versions"][0]
        root = version["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            if part in root:
                nodes |= {f"{kind.kind}.{part}": root[part]} | dict(_nodes(root[part], f"{kind.kind}.{part}"))
    return nodes


NODES = _all_nodes()


def _is_field(path: str) -> bool:
    return not path.endswith(("[]", "{}"))


CHECKS: dict[str, Callable[[str, Node], bool]] = {
    "a field has a description, a sentence": lambda path, node: (
        not _is_field(path) or re.search(r"[.?]$", node.get("description", "")) is not None
    ),
    "a name is in camel case": lambda path, _: re.fullmatch(r"[a-z][A-Za-z0-9]*", _last(path)) is not None,
    "a string is bounded": lambda _, node: node.get("type") != "string" or "enum" in node or "maxLength" in node,
    "a list is bounded and has a type": lambda _, node: (
        node.get("type") != "array" or {"maxItems", "x-kubernetes-list-type"} <= node.keys()
    ),
    "a list that is a map has keys, which are required": lambda _, node: (
        node.get("x-kubernetes-list-type") != "map"
        or set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"])
    ),
    "a set is of scalars": lambda _, node: (
        node.get("x-kubernetes-list-type") != "set" or node["items"]["type"] == "string"
    ),
    "a map is bounded": lambda _, node: "additionalProperties" not in node or "maxProperties" in node,
    "a map has plain values": lambda _, node: (
        "additionalProperties" not in node or "properties" not in node["additionalProperties"]
    ),
    "an integer is bounded and has a format": lambda _, node: (
        node.get("type") != "integer"
        or ({"minimum", "maximum"} <= node.keys() and _fits(node["maximum"], node.get("format")))
    ),
    "there are no floats": lambda _, node: node.get("type") != "number",
    "a value of an enumeration is in Pascal case, or has a reason": lambda _, node: all(
        value in ENUM_VALUES or re.fullmatch(r"[A-Z][A-Za-z0-9]*", value) for value in node.get("enum", [])
    ),
    "a boolean has a reason": lambda path, node: node.get("type") != "boolean" or path in BOOLEANS,
    "an optional field has no null": lambda _, node: not node.get("nullable"),
    "nothing unknown is kept": lambda _, node: "x-kubernetes-preserve-unknown-fields" not in node,
    "a default is not on a required field": lambda _, node: (
        not any("default" in node["properties"][name] for name in node.get("required", []))
    ),
}


def _last(path: str) -> str:
    return path.removesuffix("[]").removesuffix("{}").rsplit(".", 1)[-1]


def _fits(maximum: int, form: str | None) -> bool:
    limits = {"int32": 2**31 - 1, "int64": 2**53 - 1}
    return form in limits and maximum <= limits[form]


@pytest.mark.parametrize("rule", CHECKS)
def test_models_keep_to_the_api_conventions(rule: str) -> None:
    assert [path for path, node in NODES.items() if not CHECKS[rule](path, node)] == []


def test_exceptions_are_needed() -> None:
    assert set(BOOLEANS) <= NODES.keys()
    values = {value for node in NODES.values() for value in node.get("enum", [])}
    assert set(ENUM_VALUES) <= values


def test_only_a_spec_says_what_is_mutable() -> None:
    specs: list[object] = [kind.model_fields["spec"].annotation for kind in KINDS]
    models = [model for kind in KINDS for model in _models(kind)]
    assert [model for model in models if model.mutable is not None and model not in specs] == []


def _models(model: Any) -> Iterator[Any]:
    yield model
    for info in model.model_fields.values():
        for candidate in _classes(info.annotation):
            if hasattr(candidate, "model_fields"):
                yield from _models(candidate)


def _classes(annotation: Any) -> Iterator[Any]:
    arguments = getattr(annotation, "__args__", ())
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _classes(argument)
