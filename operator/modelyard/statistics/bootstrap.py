"""Percentile bootstrap intervals of metrics, paired between models that were judged on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from modelyard.api.v1alpha1.trainingrun import Metric
from modelyard.statistics.metrics import Predicted, prepare
from modelyard.statistics.ranking import Floats

RESAMPLES: Final = 400
MAX_ROWS: Final = 25_000
_OUTSIDE: Final = 0.05
"""Share of intervals that may miss the true value."""


@dataclass(frozen=True)
class Interval:
    """Ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Resampled values of one metric: one row a resample, one column a model."""

    points: Floats
    """Values on all rows, one a model."""
    deviations: Floats
    """Resampled values less the values on the rows that were resampled, scaled to the number of all rows."""

    def interval(self, model: int = 0) -> Interval | None:
        """Return the interval of one model's value; None when it is undefined."""
        return _interval(self.points[model], self.deviations[:, model])

    def difference(self, model: int, other: int, *, comparisons: int = 1) -> Interval | None:
        """Return the interval of a model's value less the other's on the same rows; None when it is undefined.

        Args:
            model: position of a model.
            other: position of the model to compare with.
            comparisons: how many differences are looked at together. All of their intervals hold the true difference
                with 95 % confidence (Bonferroni); that far out the normal distribution stands in for resamples.
        """
        point = self.points[model] - self.points[other]
        deviations = self.deviations[:, model] - self.deviations[:, other]
        return _interval(point, deviations) if comparisons == 1 else _widened(point, deviations, comparisons)


def bootstrap(metric: Metric, models: Sequence[Predicted], *, seed: int) -> Bootstrap:
    """Resample rows, the same ones for each model.

    More than MAX_ROWS rows are represented by a random MAX_ROWS of them (the m out of n bootstrap): an interval's width
    falls with the square root of the number of rows, so it is scaled, and the work stays bounded.

    Args:
        metric: what to compute.
        models: predictions for the same rows in the same order.
        seed: makes the result reproducible.
    """
    random = np.random.default_rng(seed)
    rows = models[0].rows
    points = np.array([prepare(metric, model)(np.ones(rows)) for model in models])
    scale = 1.0
    if rows > MAX_ROWS:
        chosen = np.sort(random.choice(rows, MAX_ROWS, replace=False)).astype(np.int64)
        models = [model.take(chosen) for model in models]
        scale = float(np.sqrt(MAX_ROWS / rows))
        rows = MAX_ROWS
    weighted = [prepare(metric, model) for model in models]
    resampled = np.full((RESAMPLES, len(models)), np.nan)
    for index in range(RESAMPLES if rows else 0):
        weight = np.bincount(random.integers(0, rows, rows), minlength=rows).astype(np.float64)
        resampled[index] = [value(weight) for value in weighted]
    centre = np.array([value(np.ones(rows)) for value in weighted])
    return Bootstrap(points, (resampled - centre) * scale)


def _interval(point: float, deviations: Floats) -> Interval | None:
    defined = deviations[np.isfinite(deviations)]
    if not np.isfinite(point) or not len(defined):
        return None
    low, high = np.quantile(defined, (_OUTSIDE / 2, 1 - _OUTSIDE / 2))
    return Interval(float(point + low), float(point + high))


def _widened(point: float, deviations: Floats, comparisons: int) -> Interval | None:
    defined = deviations[np.isfinite(deviations)]
    if not np.isfinite(point) or not len(defined):
        return None
    half = NormalDist().inv_cdf(1 - _OUTSIDE / (2 * comparisons)) * float(np.std(defined))
    return Interval(float(point - half), float(point + half))
