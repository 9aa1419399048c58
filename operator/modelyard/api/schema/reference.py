"""From a kind to the page that describes its fields."""

from collections.abc import Iterator
from typing import Any

from modelyard.api.schema.crd import columns, model_of, object_schema
from modelyard.api.schema.structural import INT_OR_STRING, VALIDATIONS, Schema
from modelyard.api.v1alpha1.common import CustomResource
from modelyard.api.v1alpha1.names import API_VERSION


def field_reference(kind: type[CustomResource]) -> str:
    """Return the Markdown page of a kind: its fields with type, bounds, default and meaning, and its rules."""
    schema = object_schema(kind)
    parts = [f"# {kind.kind}", f"{kind.__doc__}", _facts(kind)]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            rows = list(_rows(schema["properties"][part], part))
            parts += [f"## {part}", schema["properties"][part]["description"], _table(rows)]
    if refusals := list(_refusals(kind, schema)):
        parts += ["## What is refused", "Beside what the tables say:", "\n".join(refusals)]
    return "\n\n".join(parts) + "\n"


def _facts(kind: type[CustomResource]) -> str:
    facts = [f"`apiVersion: {API_VERSION}`", f"`kind: {kind.kind}`", f"plural `{kind.plural}`"]
    facts += [f"short name `{name}`" for name in kind.short_names]
    facts += ["columns " + ", ".join(column.name for column in columns(kind))]
    return ", ".join(facts) + "."


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def _rows(node: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield field, type, default and meaning of everything under `node`, depth first."""
    for name, child in node.get("properties", {}).items():
        default = "required" if name in node.get("required", ()) else _code(child.get("default"))
        yield f"`{path}.{name}`", _type(child), default, child.get("description", "")
        yield from _rows(*_element(child, f"{path}.{name}"))


def _element(node: Schema, path: str) -> tuple[Schema, str]:
    return (node["items"], f"{path}[]") if "items" in node else (node, path)


def _code(default: Any) -> str:
    match default:
        case None | {}:
            return ""
        case bool():
            return f"`{str(default).lower()}`"
        case _:
            return f"`{default}`" if default != "" else "empty"


def _type(node: Schema) -> str:
    if node.get(INT_OR_STRING):
        return "quantity"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "items" in node:
        by = f", by `{node['x-kubernetes-list-map-keys'][0]}`" if "x-kubernetes-list-map-keys" in node else ""
        return f"list of {_type(node['items'])}, {_range(node, 'Items')}{by}"
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}, {_range(node, 'Properties')}"
    return _string(node) if node["type"] == "string" else node["type"] + _bounds(node)


def _string(node: Schema) -> str:
    if node.get("format") == "date-time":
        return "time"
    pattern = f", `{node['pattern']}`" if "pattern" in node else ""
    return f"string, {_range(node, 'Length')}{pattern}"


def _bounds(node: Schema) -> str:
    return f", {node['minimum']} to {node['maximum']}" if node["type"] == "integer" else ""


def _range(node: Schema, what: str) -> str:
    low, high = node.get(f"min{what}", 0), node[f"max{what}"]
    return f"at most {high}" if low == 0 else f"{low} to {high}"


def _refusals(kind: type[CustomResource], schema: Schema) -> Iterator[str]:
    mutable = model_of(kind, "spec").mutable
    if mutable is not None:
        yield f"- `spec` is immutable after creation, apart from {', '.join(f'`{name}`' for name in sorted(mutable))}."
    for path, rule in _rules(schema, ""):
        yield f"- `{path or 'metadata.name'}` {rule['message']}."


def _rules(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield each rule that speaks of one object alone, and the field that it is about."""
    for rule in node.get(VALIDATIONS, []):
        if "oldSelf" not in rule["rule"]:
            yield path + rule.get("fieldPath", ""), rule
    for name, child in node.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}".removeprefix("."))
    if "items" in node:
        yield from _rules(node["items"], f"{path}[]")
