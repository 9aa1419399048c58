import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.model import agrees
from modelyard.model.examples import Value


@pytest.mark.parametrize(
    ("actual", "expected", "agree"),
    [
        (1.0, 1.00009, True),
        (1.0, 1.0002, False),
        (1000.0, 1000.09, True),
        (1000.0, 1000.2, False),
        (0.0, 0.00009, True),
        (1, 1.0, True),
        ("a", "a", True),
        ("a", "b", False),
        (True, True, True),
        (True, 1, False),
        ("1", 1, False),
        (None, math.nan, True),
        (None, 0.0, False),
        (0.0, None, False),
        (math.inf, math.inf, True),
        (math.inf, 1.0, False),
        (1.0, math.inf, False),
        (-math.inf, math.inf, False),
    ],
)
def test_answers_agree_within_the_tolerance(actual: Value, expected: Value, *, agree: bool) -> None:
    assert agrees(actual, expected, 0.0001) is agree


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_every_answer_agrees_with_itself(value: Value) -> None:
    assert agrees(value, value, 0.0)
