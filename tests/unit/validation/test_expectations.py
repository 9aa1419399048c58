from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from modelyard.api.v1alpha1.trainingrun import Expectations
from modelyard.validation.expectations import check
from tests.support.rows import summarise

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TABLE: dict[str, Any] = {
    "delay": pa.array([1.5, -3.0, None, 200.0]),
    "seats": pa.array([100, 100, 180, 2]),
    "carrier": ["AA", "B6", "B6", "ZZ"],
    "late": [True, False, None, False],
    "time": pa.array([datetime(2026, 1, 1, h, tzinfo=UTC) for h in range(4)], pa.timestamp("s", "UTC")),
    "empty": pa.array([None] * 4, pa.null()),
}
INFINITE = {"delay": [1.0, float("inf"), 3.0, 4.0]}


def column(name: str, **fields: Any) -> dict[str, Any]:
    return {"columns": [{"name": name, **fields}]}


def found(expectations: dict[str, Any], table: dict[str, Any] = TABLE, **options: Any) -> list[str]:
    wanted = Expectations.model_validate(expectations)
    unique = tuple(c.name for c in wanted.columns if c.unique)
    return [finding.text for finding in check(summarise(table, unique=unique, **options), wanted, NOW)]


HELD = [
    {},
    {"minimumRows": 4, "maximumRows": 4},
    {"maximumDuplicatePercent": "0"},
    {"timeColumn": "time", "maximumAgeSeconds": 21 * 3600},
    {"maximumMissingPercent": "100"},
    column("delay", type="Number", minimum="-3", maximum="200", maximumMissingPercent="25"),
    column("seats", type="Integer", nullable=False, minimum="2", categories=["100", "180", "2"]),
    column("seats", type="Number"),
    column("carrier", type="Text", categories=["AA", "B6", "ZZ", "UA"]),
    column("late", type="Boolean", categories=["true", "false"]),
    column("time", type="Time", unique=True),
    column("empty", type="Time", minimum="1", categories=["a"]),
    {"schema": "Declared", "columns": [{"name": name} for name in TABLE], "onNewColumns": "Fail"},
]
BROKEN = [
    ({"minimumRows": 5}, "it has 4 rows, at least 5 expected"),
    ({"maximumRows": 3}, "it has 4 rows, at most 3 allowed"),
    (
        {"timeColumn": "time", "maximumAgeSeconds": 3600},
        "column 'time' ends at 2026-01-01T03:00:00Z, 75600 s ago, at most 3600 s allowed",
    ),
    ({"timeColumn": "when", "maximumAgeSeconds": 1}, "column 'when' is not there, `timeColumn` names it"),
    ({"timeColumn": "carrier", "maximumAgeSeconds": 1}, "column 'carrier' is `timeColumn`, but has no times"),
    (column("tailnum"), "column 'tailnum' is not there, `columns` names it"),
    (column("delay", nullable=False), "column 'delay' has 25 % missing, none allowed"),
    (column("delay", maximumMissingPercent="24.9"), "column 'delay' has 25 % missing, at most 24.9 % allowed"),
    (column("delay", type="Integer"), "column 'delay' has 1 values (25 %) that are no Integer"),
    (column("carrier", type="Number"), "column 'carrier' has 4 values (100 %) that are no Number"),
    (column("delay", minimum="0"), "column 'delay' has 1 values (25 %) less than 0, the least -3"),
    (column("delay", maximum="100"), "column 'delay' has 1 values (25 %) greater than 100, the greatest 200"),
    (column("carrier", categories=["AA", "B6"]), "column 'carrier' has 1 values (25 %) outside its 2 `categories`"),
    (column("carrier", unique=True), "column 'carrier' has 1 values (25 %) that repeat another one, none allowed"),
    (column("delay", categories=["1.50", "x"]), "column 'delay' has 2 values (50 %) outside its 2 `categories`"),
    (column("time", categories=["x"]), "column 'time' has 4 values (100 %) outside its 1 `categories`"),
]


@pytest.mark.parametrize("expectations", HELD, ids=str)
def test_expectation_that_holds_gives_nothing(expectations: dict[str, Any]) -> None:
    assert found(expectations) == []


@pytest.mark.parametrize(("expectations", "text"), BROKEN, ids=lambda value: str(value)[:60])
def test_expectation_that_is_broken_is_told_with_numbers(expectations: dict[str, Any], text: str) -> None:
    assert found(expectations) == [text]


def test_missing_values_of_every_column_are_judged() -> None:
    texts = found({"maximumMissingPercent": "20"})
    assert sorted(text.split()[1] for text in texts) == ["'delay'", "'empty'", "'late'"]


def test_what_a_column_allows_goes_before_what_all_do() -> None:
    texts = found({"maximumMissingPercent": "20", **column("delay", maximumMissingPercent="25")})
    assert sorted(text.split()[1] for text in texts) == ["'empty'", "'late'"]


def test_new_columns_are_refused_when_asked() -> None:
    wanted = {"schema": "Declared", "onNewColumns": "Fail", **column("delay")}
    assert len(found(wanted)) == len(TABLE) - 1


def test_infinite_numbers_are_in_no_range() -> None:
    assert found(column("delay", minimum="0"), INFINITE) == ["column 'delay' has 1 values (25 %) infinite"]


def test_rows_that_repeat_others_are_judged() -> None:
    (text,) = found({"maximumDuplicatePercent": "49"}, {"a": [1, 1, 1, 2]})
    assert text == "50 % of its rows repeat another row, at most 49 % allowed"


def test_texts_that_are_no_numbers_are_counted_in_a_file_without_types() -> None:
    table = {"delay": ["1", "2.5", "n/a", None]}
    assert found(column("delay", type="Number"), table, untyped=True) == [
        "column 'delay' has 1 values (25 %) that are no Number"
    ]


def test_no_rows_are_no_division_by_zero() -> None:
    empty = {"delay": pa.array([], pa.float64())}
    wanted = {"minimumRows": 1, "maximumMissingPercent": "0", **column("delay", type="Number", minimum="0")}
    assert found(wanted, empty) == ["it has 0 rows, at least 1 expected"]
