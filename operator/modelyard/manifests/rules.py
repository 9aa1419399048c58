"""The CEL rules of a schema on a value, with Google's own implementation of the language. Pure."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cel_expr_python import cel

from modelyard.api.schema.structural import VALIDATIONS, Schema
from modelyard.manifests.paths import Path, extended
from modelyard.manifests.structure import Problem

# What Kubernetes adds to the language and this implementation has. Its own libraries (quantities, URLs, CIDRs, …) are
# in no Python package: a rule that uses them is reported as not checked.
_LIBRARIES: Final = ("optional", "strings", "two-var-comprehensions")
_CONFIGURATION: Final = "variables:\n- {name: self, type_name: dyn}\nextensions:\n" + "".join(
    f"- name: {name}\n" for name in _LIBRARIES
)


@dataclass(frozen=True)
class Unchecked:
    """A rule that could not be evaluated here; the API server will."""

    path: Path
    rule: str
    problem: str


def broken_rules(
    value: Any, schema: Schema, invalid: AbstractSet[Path] = frozenset(), path: Path = ()
) -> Iterator[Problem | Unchecked]:
    """Yield the rules that a new object breaks, and those that could not be evaluated.

    Rules about changes (`oldSelf`) do not speak of a new object. As on the API server, rules are not evaluated on what
    has other problems already.

    Args:
        value: the object, with its defaults.
        schema: its schema.
        invalid: where it has problems.
        path: where the value stands.
    """
    sound = not any(place[: len(path)] == path for place in invalid)
    for rule in schema.get(VALIDATIONS, ()) if sound else ():
        if "oldSelf" not in rule["rule"]:
            yield from _evaluated(rule, value, path)
    for part, item, node in _children(value, schema):
        yield from broken_rules(item, node, invalid, (*path, part))


def _children(value: Any, schema: Schema) -> Iterator[tuple[str | int, Any, Schema]]:
    if isinstance(value, dict):
        known = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name, item in value.items():
            if name in known:
                yield name, item, known[name]
            elif isinstance(others, dict):
                yield name, item, others
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield index, item, schema["items"]


def _evaluated(rule: Schema, value: Any, path: Path) -> Iterator[Problem | Unchecked]:
    try:
        result = _compiled(rule["rule"]).eval(data={"self": value})
    except RuntimeError as error:
        yield Unchecked(path, rule["rule"], str(error).splitlines()[0])
        return
    if result.value() is not True:
        # A rule that fails at run time refuses the object, too.
        why = f" ({result.value()})" if result.type() == cel.Type.ERROR else ""
        yield Problem(extended(path, rule.get("fieldPath", "")), rule["message"] + why)


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(config=cel.NewEnvConfigFromYaml(_CONFIGURATION))


@cache
def _compiled(rule: str) -> cel.Expression:
    return _environment().compile(rule)
