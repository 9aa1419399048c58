import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.validation.findings import (
    MESSAGE_CHARACTERS,
    Check,
    Finding,
    Severity,
    errors_of,
    percent,
    quoted,
    summary,
    table,
    to_json,
    worst_first,
)

MISSING = Finding(
    Check.MISSING, Severity.ERROR, "has 34.2 % missing, at most 5 % allowed", "dep_delay", 0.342, "flights"
)
RARE = Finding(Check.TYPE, Severity.ERROR, "has 3 values (0.1 %) that are no Number", "carrier", 0.001, "flights")
ROWS = Finding(Check.ROWS, Severity.ERROR, "it has 2 rows, at least 5 expected", input="planes")
ODD = Finding(Check.CATEGORIES, Severity.WARNING, "has 50 % …", "origin", 0.5, "flights")
NAMES = st.text(min_size=1, max_size=100)
FINDINGS = st.builds(
    Finding, st.sampled_from(Check), st.just(Severity.ERROR), NAMES, NAMES, st.floats(0, 1), st.sampled_from("ab")
)


def test_summary_tells_the_worst_first_by_input() -> None:
    assert summary([RARE, MISSING, ROWS]) == (
        "input 'planes': it has 2 rows, at least 5 expected; input 'flights': column 'dep_delay' has 34.2 % missing, "
        "at most 5 % allowed; column 'carrier' has 3 values (0.1 %) that are no Number"
    )


def test_summary_says_how_many_more_there_are() -> None:
    text = summary([MISSING] * 40)
    assert text.endswith(" more, see the log of container 'validate')")
    told, more = text.count("dep_delay"), int(text.rsplit("(", 1)[1].split()[0])
    assert told + more == 40


@given(st.lists(FINDINGS, min_size=1, max_size=20))
def test_summary_is_bounded_and_never_empty(findings: list[Finding]) -> None:
    assert 0 < len(summary(findings)) <= MESSAGE_CHARACTERS


def test_warnings_end_no_run_and_come_last() -> None:
    assert errors_of([ODD, RARE]) == (RARE,)
    assert worst_first([ODD, RARE, MISSING]) == (MISSING, RARE, ODD)


def test_table_is_aligned() -> None:
    assert table([ODD, ROWS]) == (
        "SEVERITY  INPUT    COLUMN  CHECK       FINDING",
        "Error     planes   -       Rows        it has 2 rows, at least 5 expected",
        "Warning   flights  origin  Categories  has 50 % …",
    )
    assert table([]) == ()


def test_file_has_all_findings() -> None:
    document = json.loads(to_json([ODD, MISSING]))
    assert document["schema"] == "modelyard.dev/data-findings/v1"
    assert document["findings"][0] == {
        "check": "Missing",
        "severity": "Error",
        "message": "has 34.2 % missing, at most 5 % allowed",
        "column": "dep_delay",
        "share": 0.342,
        "input": "flights",
    }


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1e-9, "< 0.1 %"), (0.05, "5 %"), (0.3416, "34.2 %"), (0.99999, "> 99.9 %"), (1, "100 %")],
)
def test_percent_never_rounds_to_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


def test_names_from_data_are_cut() -> None:
    assert quoted("x" * 500) == f"'{'x' * 59}…'"
