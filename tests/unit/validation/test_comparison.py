from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelyard.api.v1alpha1.trainingrun import NewColumnPolicy
from modelyard.validation.comparison import chance_of, compare, distance
from modelyard.validation.findings import Check, Finding, Severity
from tests.support.rows import profile, rotated, summarise, weather

ALLOW, FAIL = NewColumnPolicy.ALLOW, NewColumnPolicy.FAIL
BEFORE = weather(2000, seed=1)
NOW = weather(1500, seed=2)


def compared(now: Any, before: Any = BEFORE, policy: NewColumnPolicy = ALLOW, **options: Any) -> tuple[Finding, ...]:
    return compare(summarise(now, **options), profile(before, **options), policy)


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str, str]]:
    return sorted((finding.column, finding.check.value, finding.severity.value) for finding in findings)


def without(table: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values for name, values in table.items() if name not in names}


def test_rows_of_the_same_source_give_no_finding() -> None:
    """The null control: 200 tables of different sizes, each against the one before it."""
    before = profile(weather(500))
    for seed in range(1, 201):
        table = summarise(weather((30, 1500, 60, 400, 3000)[seed % 5], seed))
        assert compare(table, before, ALLOW) == ()
        before = table.profile()


def test_texts_without_types_of_the_same_source_give_no_finding() -> None:
    for seed in range(10):
        before, now = (
            pa.table({name: pa.array(values).cast(pa.string()) for name, values in weather(300, s).items()})
            for s in (seed, 500 + seed)
        )
        assert compared(now, before, untyped=True) == ()


def test_columns_that_are_gone_or_new_are_told() -> None:
    now = {**without(NOW, "dew", "rain"), "snow": [0.0] * 1500}
    assert told(compared(now)) == [
        ("dew", "Columns", "Error"),
        ("rain", "Columns", "Error"),
        ("snow", "Columns", "Warning"),
    ]
    assert ("snow", "Columns", "Error") in told(compared(now, policy=FAIL))


def test_another_type_is_an_error() -> None:
    now = {**NOW, "pressure": [f"{p} hPa" for p in NOW["pressure"]], "station": list(range(1500))}
    assert told(compared(now)) == [("pressure", "Type", "Error"), ("station", "Type", "Error")]


def test_one_text_among_numbers_is_an_error_with_its_count() -> None:
    before = {"x": [str(i) for i in range(1000)]}
    (finding,) = compared({"x": [*map(str, range(999)), "n/a"]}, before, untyped=True)
    assert (finding.text, finding.severity) == (
        "column 'x' was Integer, now 1 values (0.1 %) are not",
        Severity.ERROR,
    )


def test_fractions_where_only_whole_numbers_were_are_a_warning() -> None:
    (finding,) = compared({**NOW, "wind": np.maximum(NOW["wind"] - 0.5, 0)})
    assert (finding.column, finding.severity) == ("wind", Severity.WARNING)


def test_numbers_that_happen_to_be_whole_are_nothing() -> None:
    assert compared({"x": [1.0, 2.0] * 20}, {"x": [1.0, 2.5] * 500}) == ()


def test_column_that_has_become_empty_is_an_error() -> None:
    now = {**NOW, "pressure": pa.array([None] * 1500, pa.float64())}
    assert told(compared(now)) == [("pressure", "Missing", "Error")]


def test_column_that_was_nearly_empty_may_be_empty() -> None:
    before = {"x": pa.array([1.0, *[None] * 999])}
    assert compared({"x": pa.array([None] * 500, pa.float64())}, before) == ()


def test_range_that_is_left_is_a_warning_with_its_share() -> None:
    hot = np.where(np.arange(1500) % 4 == 0, 70.0, NOW["temperature"])
    (finding,) = compared({**NOW, "temperature": hot})
    assert (finding.column, finding.check, finding.severity) == ("temperature", Check.RANGE, Severity.WARNING)
    assert "25 % of its values greater than the greatest of the previous run" in finding.message


def test_new_category_is_a_warning_with_its_name_and_share() -> None:
    now = {**NOW, "station": [*["SFO"] * 150, *NOW["station"][150:]]}
    (finding,) = compared(now)
    assert finding.severity is Severity.WARNING
    assert finding.text == (
        "column 'station' has 10 % of its values in categories that the previous run did not have: 'SFO'"
    )


@pytest.mark.parametrize(
    "names",
    [("dew", "pressure"), ("dew", "pressure", "visibility"), ("wind", "pressure", "dew", "visibility")],
    ids=str,
)
def test_columns_that_changed_places_are_errors(names: tuple[str, ...]) -> None:
    for seed in range(3):
        findings = [f for f in compared(rotated(weather(800, seed), *names)) if f.check is Check.SWAPPED]
        assert [(f.column, f.severity) for f in findings] == [(name, Severity.ERROR) for name in sorted(names)]
        for name, other in zip(names, (*names[1:], names[0]), strict=True):
            (finding,) = (f for f in findings if f.column == name)
            assert f"now holds what '{other}' held" in finding.message


def test_texts_that_changed_places_are_errors() -> None:
    found = compared(rotated(NOW, "station", "observer"))
    assert [(f.column, f.severity) for f in found if f.check is Check.SWAPPED] == [
        ("observer", Severity.ERROR),
        ("station", Severity.ERROR),
    ]


def test_column_that_is_a_copy_of_another_is_a_warning() -> None:
    found = compared({**NOW, "dew": NOW["pressure"]})
    assert ("dew", "Swapped", "Warning") in told(found)
    assert all(finding.severity is Severity.WARNING for finding in found)


def test_values_that_moved_on_are_an_error_though_their_last_column_looks_as_ever() -> None:
    """As in NOAA's rain data from row 12,000 on: the last of three columns is spread so much like the first that it
    does not show, but the other two are damaged all the same."""
    random = np.random.default_rng(0)
    before = {
        "dew": random.normal(0, 1, 900),
        "pressure": random.gamma(1, 1, 900),
        "visibility": random.normal(0, 1, 900),
    }
    found = compared(rotated(before, "dew", "pressure", "visibility"), before)
    assert [(f.column, f.severity) for f in found if f.check is Check.SWAPPED] == [
        ("dew", Severity.ERROR),
        ("pressure", Severity.WARNING),
    ]


def test_years_that_follow_each_other_are_no_error() -> None:
    before = {"start": [2011.0] * 500, "middle": [2012.0] * 500, "end": [2013.0] * 500}
    now = {name: [year + 1 for year in years] for name, years in before.items()}
    found = [f for f in compared(now, before) if f.check is Check.SWAPPED]
    assert [(f.column, f.severity) for f in found] == [("middle", Severity.WARNING), ("start", Severity.WARNING)]


def test_columns_that_are_alike_are_not_swapped() -> None:
    random = np.random.default_rng(0)
    before = {"a": random.normal(0, 1, 900), "b": random.normal(0, 1, 900)}
    assert compared({"a": before["b"], "b": before["a"]}, before) == ()


def test_season_is_no_swap() -> None:
    cold = {**NOW, "temperature": NOW["temperature"] - 25, "dew": NOW["dew"] - 25}
    assert {finding.severity for finding in compared(cold)} <= {Severity.WARNING}


@pytest.mark.parametrize(
    ("count", "sample", "other", "chance"), [(0, 5, 5, 1.0), (1, 5, 5, 0.5), (2, 2, 2, 1 / 6), (6, 5, 5, 0.0)]
)
def test_chance_is_that_of_an_urn(count: int, sample: int, other: int, chance: float) -> None:
    assert chance_of(count, sample, other) == pytest.approx(chance)


def test_distance_is_none_to_itself_and_whole_to_what_shares_nothing() -> None:
    columns = profile({"a": [1.0, 2.0], "b": [5.0, 6.0], "c": ["x", "y"], "d": ["z", "z"]}).by_name
    assert [distance(columns[left], columns[right]) for left, right in ("aa", "ab", "cc", "cd")] == [0, 1, 0, 1]


def test_no_rows_at_all_are_compared() -> None:
    empty = {name: pa.array([], pa.array(values).type) for name, values in NOW.items()}
    assert compared(empty) == ()
    assert compared(NOW, empty) == ()
