import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.trainingrun import Goal
from modelyard.statistics.importance import MAX_ROWS, REPEATS, permutation_importance, sample_size
from modelyard.statistics.ranking import Integers

RANDOM = np.random.default_rng(0)
ROWS = 2000
COLUMNS = {"strong": RANDOM.normal(size=ROWS), "weak": RANDOM.normal(size=ROWS), "unused": RANDOM.normal(size=ROWS)}
TRUTH = 3 * COLUMNS["strong"] + COLUMNS["weak"]


def squared_error(feature: str | None, positions: Integers) -> float:
    found = {name: values[positions] if name == feature else values for name, values in COLUMNS.items()}
    return float(((3 * found["strong"] + found["weak"] - TRUTH) ** 2).mean())


def test_features_are_ordered_by_what_is_lost_without_them() -> None:
    found = permutation_importance(list(COLUMNS), ROWS, Goal.MINIMIZE, squared_error, seed=0)
    assert found is not None
    assert [drop.feature for drop in found.drops] == ["strong", "weak", "unused"]
    # Shuffling a feature with the coefficient b adds 2 b² to the squared error.
    assert [drop.mean for drop in found.drops] == [pytest.approx(18, rel=0.1), pytest.approx(2, rel=0.1), 0]


def test_loss_is_positive_whichever_direction_is_better() -> None:
    found = permutation_importance(
        list(COLUMNS), ROWS, Goal.MAXIMIZE, lambda feature, rows: -squared_error(feature, rows), seed=0
    )
    assert found is not None
    assert found.drops[0].mean == pytest.approx(18, rel=0.1)


def test_same_seed_gives_the_same_numbers() -> None:
    once, again = (permutation_importance(list(COLUMNS), ROWS, Goal.MINIMIZE, squared_error, seed=1) for _ in range(2))
    assert once == again


def test_undefined_metric_has_no_importance() -> None:
    assert permutation_importance(["a"], 3, Goal.MAXIMIZE, lambda *_: float("nan"), seed=0) is None


@given(st.integers(0, 10_000_000), st.integers(1, 5000))
def test_work_is_bounded(judged: int, features: int) -> None:
    rows = sample_size(judged, features)
    if rows is not None:
        assert 1 <= rows <= min(judged, MAX_ROWS)
        assert rows * features * REPEATS <= max(20_000, 20 * judged)
        assert rows * features * REPEATS <= 1_000_000
