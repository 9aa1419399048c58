"""A value against a structural schema, in the API server's terms: types, bounds, names of fields. Pure."""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from modelyard.api.schema.structural import INT_OR_STRING, Schema
from modelyard.manifests.paths import Path

_LARGEST: Final = {"int32": 2**31, "int64": 2**63}
_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True)
class Problem:
    """What is wrong, and where."""

    path: Path
    message: str


def with_defaults(value: Any, schema: Schema) -> Any:
    """Return a value with the schema's defaults in place of what is absent, as the API server stores it."""
    if isinstance(value, dict) and "properties" in schema:
        known: Mapping[str, Schema] = schema["properties"]
        given = {k: v for k, v in value.items() if not (v is None and "default" in known.get(k, {}))}
        absent = {name: node["default"] for name, node in known.items() if "default" in node and name not in given}
        return {name: with_defaults(item, known.get(name, {})) for name, item in {**given, **absent}.items()}
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(item, schema["items"]) for item in value]
    return value


def problems(value: Any, schema: Schema, path: Path = ()) -> Iterator[Problem]:
    """Yield what the API server would refuse in a value, its fields and items."""
    wrong = _type_problem(value, schema)
    if wrong:
        yield Problem(path, wrong)
        return
    for message in _scalar_problems(value, schema):
        yield Problem(path, message)
    if isinstance(value, dict):
        yield from _object_problems(value, schema, path)
    elif isinstance(value, list):
        yield from _list_problems(value, schema, path)


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return a hint at the known name that is most like a misspelt one, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean `{found[0]}`?" if found else ""


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def _type_problem(value: Any, schema: Schema) -> str | None:
    if schema.get(INT_OR_STRING):
        fits = _TYPES["integer"](value) or isinstance(value, str)
        return None if fits else f"must be a whole number or a text, is {_kind(value)}"
    expected = schema.get("type")
    if expected is None or _TYPES[expected](value):
        return None
    return f"must be of type {schema.get('format', expected) if expected == 'integer' else expected}, is {_kind(value)}"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "empty (null)"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return _quoted(value)


def _scalar_problems(value: Any, schema: Schema) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(f'"{choice}"' for choice in schema["enum"])
        yield f"must be one of {allowed}, is {_quoted(value)}{nearest(str(value), schema['enum'])}"
    if isinstance(value, str):
        yield from _text_problems(value, schema)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_problems(value, schema)


def _text_problems(value: str, schema: Schema) -> Iterator[str]:
    yield from _size_problems(len(value), schema, "Length", "character")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"must match {schema['pattern']}, is {_quoted(value)}"
    if schema.get("format") == "date-time" and not _is_time(value):
        yield f"must be a time such as 2026-01-31T08:00:00Z, is {_quoted(value)}"


def _number_problems(value: float, schema: Schema) -> Iterator[str]:
    if "minimum" in schema and value < schema["minimum"]:
        yield f"must be at least {schema['minimum']}, is {value}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"must be at most {schema['maximum']}, is {value}"
    limit = _LARGEST.get(schema.get("format", ""))
    if limit and "maximum" not in schema and not -limit <= value < limit:
        yield f"must fit {schema['format']}, is {value}"


def _object_problems(value: Mapping[str, Any], schema: Schema, path: Path) -> Iterator[Problem]:
    yield from (Problem(path, text) for text in _size_problems(len(value), schema, "Properties", "field"))
    known: Mapping[str, Schema] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield Problem((*path, name), "must be set")
    for name, item in value.items():
        if name in known:
            yield from problems(item, known[name], (*path, name))
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from problems(item, schema["additionalProperties"], (*path, name))
        elif known:
            yield Problem((*path, name), f"is not a field here{nearest(name, known)}")


def _list_problems(value: list[Any], schema: Schema, path: Path) -> Iterator[Problem]:
    yield from (Problem(path, text) for text in _size_problems(len(value), schema, "Items", "item"))
    for index, item in enumerate(value):
        yield from problems(item, schema.get("items", {}), (*path, index))
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if schema.get("x-kubernetes-list-type") not in ("map", "set"):
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        if keys and not (isinstance(item, dict) and all(key in item for key in keys)):
            continue
        identity = {key: item[key] for key in keys} if keys else item
        text = json.dumps(identity, sort_keys=True, default=str)
        if text in seen:
            yield Problem((*path, index), f"is given twice: {_named(identity)}")
        seen.add(text)


def _named(identity: Any) -> str:
    if isinstance(identity, dict):
        return ", ".join(f"{key} {_quoted(value)}" for key, value in identity.items())
    return _quoted(identity)


def _size_problems(size: int, schema: Schema, what: str, unit: str) -> Iterator[str]:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if low is not None and size < low:
        yield f"must have at least {low} {unit}{'s' * (low != 1)}, has {size}"
    if high is not None and size > high:
        yield f"must have at most {high} {unit}{'s' * (high != 1)}, has {size}"


def _quoted(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return f"'{cut}'" if isinstance(value, str) else cut


def _is_time(value: str) -> bool:
    try:
        return "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
