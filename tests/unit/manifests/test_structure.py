from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.schema.crd import object_schema
from modelyard.api.v1alpha1 import TrainingRun
from modelyard.manifests.paths import shown
from modelyard.manifests.structure import problems, with_defaults

TEXT = {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]+$"}
NUMBER = {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9}
LIST = {
    "type": "array",
    "maxItems": 2,
    "items": {"type": "object", "properties": {"name": TEXT}, "required": ["name"]},
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def found(value: Any, schema: dict[str, Any]) -> list[str]:
    return [f"{shown(problem.path)}: {problem.message}" for problem in problems(value, schema, ("x",))]


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("abc", TEXT, []),
        ("", TEXT, ["x: must have at least 1 character, has 0", "x: must match ^[a-z]+$, is ''"]),
        ("abcd", TEXT, ["x: must have at most 3 characters, has 4"]),
        (1, TEXT, ["x: must be of type string, is 1"]),
        (True, NUMBER, ["x: must be of type int32, is true"]),
        (1.5, NUMBER, ["x: must be of type int32, is 1.5"]),
        (0, NUMBER, ["x: must be at least 1, is 0"]),
        (10, NUMBER, ["x: must be at most 9, is 10"]),
        (2**31, {"type": "integer", "format": "int32"}, ["x: must fit int32, is 2147483648"]),
        (None, NUMBER, ["x: must be of type int32, is empty (null)"]),
        ("maximize", {"type": "string", "enum": ["Maximize", "Minimize"]},
         ['x: must be one of "Maximize", "Minimize", is \'maximize\'; did you mean `Maximize`?']),
        ("1Gi", {"x-kubernetes-int-or-string": True}, []),
        (1.5, {"x-kubernetes-int-or-string": True}, ["x: must be a whole number or a text, is 1.5"]),
        ([{"name": "a"}, {"name": "a"}], LIST, ["x[1]: is given twice: name 'a'"]),
        ([{}, {"nmae": "a"}], LIST,
         ["x[0].name: must be set", "x[1].name: must be set", "x[1].nmae: is not a field here; did you mean `name`?"]),
        (["a", "a"], {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ["x[1]: is given twice: 'a'"]),
        (["a", "a"], {"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"}, []),
        ({"a": 1}, {"type": "object", "additionalProperties": TEXT}, ["x.a: must be of type string, is 1"]),
        ("2026-01-31T08:00:00Z", {"type": "string", "format": "date-time"}, []),
        ("2026-01-31", {"type": "string", "format": "date-time"},
         ["x: must be a time such as 2026-01-31T08:00:00Z, is '2026-01-31'"]),
    ],
)  # fmt: skip
def test_each_bound_is_checked_and_named(value: Any, schema: dict[str, Any], expected: list[str]) -> None:
    assert found(value, schema) == expected


def test_defaults_fill_what_is_absent_or_null() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "integer", "default": 7}}, "default": {}}
    schema = {"type": "object", "properties": {"a": inner, "c": {"type": "string"}}}
    assert with_defaults({"c": "x"}, schema) == {"a": {"b": 7}, "c": "x"}
    assert with_defaults({"a": {"b": None}}, schema) == {"a": {"b": 7}}


@given(JSON)
def test_any_value_is_judged(value: Any) -> None:
    schema = object_schema(TrainingRun)
    assert list(problems(with_defaults({"spec": value}, schema), schema))
