import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.steps.metric_lines import MAX_METRICS, decimal_string, parse_lines

DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


@given(st.floats() | st.integers(-(10**20), 10**20))
def test_decimal_strings_are_allowed_in_objects_and_close_to_the_number(value: float) -> None:
    text = decimal_string(value)
    if text is None:
        assert not abs(value) < 10**15
    else:
        assert DECIMAL.fullmatch(text)
        assert abs(Decimal(text) - Decimal(value)) <= Decimal("1e-14") * (1 + abs(Decimal(value)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7134, "0.7134"), (1, "1"), (-0.0, "0"), (1e-20, "0"), (100.0, "100"), (-2.5, "-2.5"), (1e15, None)],
)
def test_decimal_strings_are_short(value: float, text: str | None) -> None:
    assert decimal_string(value) == text


def test_last_value_of_a_name_wins() -> None:
    lines = [b'{"name": "loss", "value": 2}\n', b'{"name": "auc", "value": 0.5}\n', b'{"name": "loss", "value": 1.5}']
    assert parse_lines(lines) == ({"loss": "1.5", "auc": "0.5"}, [], 0)


@pytest.mark.parametrize(
    "line",
    [
        b"epoch 1",
        b"[1]",
        b'{"name": "x"}',
        b'{"name": "x", "value": "1"}',
        b'{"name": "x", "value": true}',
        b'{"name": "x", "value": NaN}',
        b'{"name": "x", "value": 1e400}',
        b'{"name": "", "value": 1}',
        b'{"name": "a\\nb", "value": 1}',
        b'{"name": 1, "value": 1}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_lines_that_are_no_metric_are_counted_and_skipped(line: bytes) -> None:
    assert parse_lines([line, b"", b'{"name": "auc", "value": 1}']) == ({"auc": "1"}, [], 1)


def test_metrics_are_bounded() -> None:
    lines = [json.dumps({"name": f"m{number}", "value": 1}).encode() for number in range(MAX_METRICS + 5)]
    said = parse_lines(lines)
    assert (len(said.metrics), said.refused) == (MAX_METRICS, 5)
