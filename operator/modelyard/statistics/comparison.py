"""Metrics of a model beside those of the champion, each with its interval."""

from dataclasses import dataclass
from decimal import Decimal

from modelyard.api.v1alpha1.trainingrun import Metric
from modelyard.statistics.bootstrap import Interval, bootstrap
from modelyard.statistics.decimals import to_decimal
from modelyard.statistics.metrics import Predicted, score
from modelyard.statistics.verdict import Range


@dataclass(frozen=True)
class Scored:
    """One metric on the judged rows; what is undefined there is None."""

    metric: Metric
    value: Decimal | None
    interval: Range | None = None
    champion: Decimal | None = None
    difference: Decimal | None = None
    """The model's value less the champion's."""
    difference_interval: Range | None = None


def compare(
    metric: Metric, model: Predicted, champion: Predicted | None, *, seed: int, with_intervals: bool = True
) -> Scored:
    """Score both models on the same rows.

    Args:
        metric: what to compute.
        model: the new model's predictions.
        champion: the champion's predictions for the same rows in the same order, None without one.
        seed: makes the intervals reproducible.
        with_intervals: False leaves them out, which takes a fraction of the time.
    """
    value = to_decimal(score(metric, model))
    rival = to_decimal(score(metric, champion)) if champion else None
    difference = None if value is None or rival is None else value - rival
    if not with_intervals:
        return Scored(metric, value, None, rival, difference)
    resampled = bootstrap(metric, [model, champion] if champion else [model], seed=seed)
    interval_of_difference = to_range(resampled.difference(0, 1)) if champion else None
    return Scored(metric, value, to_range(resampled.interval()), rival, difference, interval_of_difference)


def to_range(interval: Interval | None) -> Range | None:
    """Return an interval as decimals; None when one of its ends has none."""
    low, high = (to_decimal(interval.low), to_decimal(interval.high)) if interval else (None, None)
    return None if low is None or high is None else Range(low, high)
