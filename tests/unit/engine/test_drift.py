from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.controller.engine.drift import contains, parse_quantity

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)

PORTS = [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}]


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, id="defaulted field"),
        pytest.param({}, {"a": {}, "b": [], "c": "", "d": 0, "e": False}, id="empty values dropped"),
        pytest.param([{"name": "x", "v": 1}, {"name": "y"}], [{"name": "y"}], id="another manager's item"),
        pytest.param([{"name": "x"}, {"name": "y"}], [{"name": "y"}, {"name": "x"}], id="order of a list map"),
        pytest.param(PORTS, [{"containerPort": 80}], id="defaulted part of a key"),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {"cpu": 1}}, id="number as quantity"),
        pytest.param({"limits": {"cpu": "500m"}}, {"limits": {"cpu": "0.5"}}, id="quantity in another unit"),
        pytest.param({"sizeLimit": "1Gi"}, {"sizeLimit": "1024Mi"}, id="quantity of one field"),
    ],
)
def test_contains_finds_no_drift(live: Any, desired: Any) -> None:
    assert contains(live, desired)


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        pytest.param({"a": 2}, {"a": 1}, id="changed value"),
        pytest.param({}, {"a": 1}, id="removed field"),
        pytest.param({"a": None}, {"a": {"b": 1}}, id="removed object"),
        pytest.param([{"name": "x"}], [{"name": "x"}, {"name": "y"}], id="removed item"),
        pytest.param([{"name": "x", "v": 2}], [{"name": "x", "v": 1}], id="changed item"),
        pytest.param(["a", "b"], ["b", "a"], id="order of arguments"),
        pytest.param(["a", "b"], ["a"], id="added argument"),
        pytest.param([{"name": "x"}], [{"name": "y"}], id="another item"),
        pytest.param({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, id="changed quantity"),
        pytest.param({"value": "1000m"}, {"value": "1"}, id="equal numbers that are no quantity"),
        pytest.param({"a": True}, {"a": 1}, id="boolean is no number"),
    ],
)
def test_contains_finds_drift(live: Any, desired: Any) -> None:
    assert not contains(live, desired)


@given(json_values)
def test_everything_contains_itself(value: Any) -> None:
    assert contains(value, value)


@given(st.dictionaries(st.text(max_size=3), json_values), st.dictionaries(st.text(max_size=3), json_values))
def test_what_others_add_at_the_top_is_no_drift(desired: dict[str, Any], more: dict[str, Any]) -> None:
    assert contains({**more, **desired}, desired)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", "1"), ("1500m", "1.5"), ("2Gi", str(2 * 2**30)), ("1e3", "1000"), ("1E", str(10**18)), ("0.5", "0.5")],
)
def test_parse_quantity_reads_all_notations(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "m", "one", "1 Gi", "1Xi"])
def test_parse_quantity_knows_what_is_none(text: str) -> None:
    assert parse_quantity(text) is None
