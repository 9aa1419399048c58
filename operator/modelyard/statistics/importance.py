"""Permutation importance: how much worse a metric becomes when one feature's values are shuffled among the rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelyard.api.v1alpha1.trainingrun import Goal
from modelyard.statistics.ranking import Integers

REPEATS: Final = 3
MAX_ROWS: Final = 5_000
_LEAST_ROWS: Final = 100
_MAX_SCORED: Final = 1_000_000
_ALWAYS_SCORED: Final = 20_000
_TIMES_THE_JUDGED: Final = 20


@dataclass(frozen=True)
class Drop:
    """What one feature is worth."""

    feature: str
    mean: float
    """How much worse the metric becomes, as the mean over the repeats."""
    deviation: float
    """Standard deviation over the repeats."""


@dataclass(frozen=True)
class Importance:
    """All features, the most important first."""

    rows: int
    """How many of the judged rows were sampled."""
    drops: tuple[Drop, ...]


def sample_size(judged_rows: int, features: int) -> int | None:
    """Return how many rows to shuffle; None when so many features cannot be looked at within bounds.

    A model may be slow, so what is scored is bounded by a multiple of the judged rows, not by seconds: the same model
    and rows always give the same numbers.
    """
    scored = min(_MAX_SCORED, max(_ALWAYS_SCORED, _TIMES_THE_JUDGED * judged_rows))
    fitting = scored // max(features * REPEATS, 1)
    rows = min(judged_rows, MAX_ROWS, fitting)
    return rows if rows >= min(_LEAST_ROWS, judged_rows) and rows else None


def permutation_importance(
    features: Sequence[str], rows: int, goal: Goal, score: Callable[[str | None, Integers], float], *, seed: int
) -> Importance | None:
    """Measure each feature.

    Args:
        features: names.
        rows: number of rows that are scored.
        goal: which direction of the metric is better.
        score: the metric when the values of a feature (None = of none) are taken from the rows at these positions.
        seed: makes the result reproducible.

    Returns:
        The features in order of importance; None when the metric is undefined on these rows.
    """
    random = np.random.default_rng(seed)
    sign = 1.0 if goal is Goal.MAXIMIZE else -1.0
    whole = score(None, np.arange(rows))
    if not np.isfinite(whole):
        return None
    drops = []
    for feature in features:
        shuffled = np.array([score(feature, random.permutation(rows)) for _ in range(REPEATS)])
        worse = sign * (whole - shuffled)
        drops.append(Drop(feature, float(worse.mean()), float(worse.std())))
    return Importance(rows, tuple(sorted(drops, key=lambda drop: (-drop.mean, drop.feature))))
