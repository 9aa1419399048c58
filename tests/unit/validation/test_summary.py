from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.validation.profile import InputProfile, Kind, Profile
from tests.support.rows import profile, summarise, weather

TYPED = {
    "integers": ([1, 2, None], pa.int16(), Kind.INTEGER),
    "whole": ([1.0, 2.0, None], pa.float64(), Kind.INTEGER),
    "fractions": ([1.0, 2.5, float("nan")], pa.float32(), Kind.NUMBER),
    "decimals": ([Decimal("1.50"), None, None], pa.decimal128(9, 2), Kind.NUMBER),
    "texts": (["1", "2", None], pa.string(), Kind.TEXT),
    "large": (["1", None, None], pa.large_string(), Kind.TEXT),
    "booleans": ([True, False, None], pa.bool_(), Kind.BOOLEAN),
    "dates": ([date(2013, 1, 2), None, None], pa.date32(), Kind.TIME),
    "times": ([datetime(2013, 1, 2, tzinfo=UTC), None, None], pa.timestamp("ms", "UTC"), Kind.TIME),
    "lists": ([[1], None, None], pa.list_(pa.int8()), Kind.OTHER),
    "nothing": ([None, None, None], pa.null(), None),
}
UNTYPED = {
    "integer": (["1", "+2", "-3", "4.0"], Kind.INTEGER),
    "number": (["1", "2.5", ".5", "1e-3"], Kind.NUMBER),
    "infinity": (["1", "-inf", "Infinity", "2"], Kind.NUMBER),
    "boolean": (["true", "False", "TRUE", None], Kind.BOOLEAN),
    "time": (["2013-01-02", "2013-01-02T03:04:05Z", "2013-01-02 03:04", "2013-01-02T03:04:05.5+02:00"], Kind.TIME),
    "no-time": (["2013-02-30", "2013-13-01", None, None], Kind.TEXT),
    "mixed": (["1", "two", None, None], Kind.TEXT),
    "missing": ([None, None, None, None], None),
}


@pytest.mark.parametrize("name", TYPED)
def test_type_is_the_narrowest_of_all_values(name: str) -> None:
    values, type_, kind = TYPED[name]
    (column,) = profile({name: pa.array(values, type_)}).columns
    assert (column.type, column.missing) == (kind, sum(map(pd.isna, values)) if name != "lists" else 2)


@pytest.mark.parametrize("name", UNTYPED)
def test_texts_of_a_file_without_types_are_what_they_look_like(name: str) -> None:
    values, kind = UNTYPED[name]
    (column,) = profile({name: pa.array(values, pa.string())}, untyped=True).columns
    assert (column.type, column.present) == (kind, sum(v is not None for v in values))


def test_times_are_seconds_whatever_their_zone() -> None:
    texts = ["1970-01-01T01:00:00+01:00", "1970-01-01T00:00:10Z"]
    typed = pa.array([0, 10_000_000_000], pa.timestamp("ns"))
    for table, untyped in (({"t": texts}, True), ({"t": typed}, False)):
        (column,) = profile(table, untyped=untyped).columns
        assert (column.minimum, column.maximum) == (0, 10)


def test_numbers_have_bounds_mean_and_quantiles_without_what_is_infinite() -> None:
    (column,) = profile({"x": [1.0, 2.0, 6.0, float("inf")]}).columns
    assert (column.minimum, column.maximum, column.mean, column.infinite) == (1, 6, 3, 1)
    assert (len(column.quantiles), column.quantiles[50], column.type) == (101, 2, Kind.NUMBER)


def test_categories_have_counts() -> None:
    (column,) = profile({"carrier": ["UA", "B6", "UA", None]}).columns
    assert [(c.value, c.count) for c in column.categories] == [("UA", 2), ("B6", 1)]
    assert (column.distinct, column.categories_complete) == (2, True)


def test_rows_and_values_that_repeat_others_are_counted() -> None:
    table = {"id": [1, 1, 2, None, None], "x": ["a", "a", "a", "b", "b"]}
    found = profile(table, unique=("id",))
    assert (found.duplicate_rows, found.by_name["id"].duplicates, found.by_name["x"].duplicates) == (2, 1, None)


def test_values_that_change_columns_make_another_row() -> None:
    assert profile({"a": ["x", "y"], "b": ["y", "x"]}).duplicate_rows == 0


def test_absent_column_is_missing_values() -> None:
    summary = summarise({"a": [1, 2]})
    for name, values in summarise({"a": [3], "b": ["x"]}).columns.items():
        assert values.present == 1, name
    summary.add(1, {})
    assert (summary.rows, summary.profile().by_name["a"].missing) == (3, 1)


def test_schema_digest_depends_on_names_and_types_alone() -> None:
    base = profile({"a": [1], "b": ["x"]})
    assert base.schema_digest == profile({"b": ["y", "z"], "a": [2, None]}).schema_digest
    assert base.schema_digest != profile({"a": ["1"], "b": ["x"]}).schema_digest


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 90), st.booleans())
def test_profile_depends_neither_on_order_nor_on_batches(seed: int, batch: int, untyped: bool) -> None:
    table = pa.table(weather(80, seed))
    if untyped:
        table = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    order = np.random.default_rng(seed)
    shuffled = table.take(order.permutation(80)).select(list(order.permutation(table.column_names)))
    assert profile(table, untyped=untyped) == profile(shuffled, batch=batch, untyped=untyped)


def test_profile_survives_its_file() -> None:
    known = Profile(inputs=(profile(weather(500)),))
    read = Profile.model_validate_json(known.to_json())
    assert read == known
    assert isinstance(read.input("flights"), InputProfile)
    assert read.input("planes") is None
