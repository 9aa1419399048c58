"""Metrics of predictions, prepared once and then evaluated for many weightings of the same rows.

A weight is a count of how often a row occurs, so a bootstrap resample costs one pass and no sorting.
An undefined metric, such as rocAuc on rows of a single class, is NaN.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from modelyard.api.v1alpha1.trainingrun import Metric
from modelyard.statistics.ranking import Booleans, Floats, Integers, Ranking

Weighted: TypeAlias = Callable[[Floats], float]
"""The value of a metric when row i occurs weight[i] times."""

CLASSIFICATION: Final = (
    Metric.ROC_AUC,
    Metric.AVERAGE_PRECISION,
    Metric.LOG_LOSS,
    Metric.BRIER_SCORE,
    Metric.EXPECTED_CALIBRATION_ERROR,
    Metric.ACCURACY,
    Metric.BALANCED_ACCURACY,
    Metric.F1,
    Metric.PRECISION,
    Metric.RECALL,
)
REGRESSION: Final = (
    Metric.MEAN_ABSOLUTE_ERROR,
    Metric.MEAN_ABSOLUTE_PERCENTAGE_ERROR,
    Metric.ROOT_MEAN_SQUARED_ERROR,
    Metric.R2,
)
CALIBRATION_BINS: Final = 10
"""Bins of equal width into which probabilities fall for the calibration error and its curve."""

_LEAST_PROBABILITY: Final = float(np.finfo(np.float32).eps)
_BINARY: Final = 2


@dataclass(frozen=True)
class Classified:
    """Rows with their true class and what a classifier said; classes are numbered from 0."""

    truth: Integers
    label: Integers
    probabilities: Floats
    """One row a row, one column a class."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.truth)

    def take(self, rows: Integers) -> "Classified":
        """Return the rows at these positions."""
        return Classified(self.truth[rows], self.label[rows], self.probabilities[rows])


@dataclass(frozen=True)
class Estimated:
    """Rows with their true value and a regressor's estimate."""

    truth: Floats
    value: Floats

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.truth)

    def take(self, rows: Integers) -> "Estimated":
        """Return the rows at these positions."""
        return Estimated(self.truth[rows], self.value[rows])


Predicted: TypeAlias = Classified | Estimated


def metrics_of(predicted: Predicted) -> tuple[Metric, ...]:
    """Return the metrics that are defined for this kind of prediction."""
    return CLASSIFICATION if isinstance(predicted, Classified) else REGRESSION


def prepare(metric: Metric, predicted: Predicted) -> Weighted:
    """Return the metric as a function of the rows' weights.

    Raises:
        ValueError: the metric is not defined for this kind of prediction.
    """
    match predicted:
        case Classified() if metric in CLASSIFICATION:
            return _prepare_classified(metric, predicted)
        case Estimated() if metric in REGRESSION:
            return _prepare_estimated(metric, predicted)
    allowed = ", ".join(metrics_of(predicted))
    raise ValueError(f"metric '{metric}' is not defined for these predictions, must be one of {allowed}")


def score(metric: Metric, predicted: Predicted) -> float:
    """Return the metric over all rows, each counted once."""
    return prepare(metric, predicted)(np.ones(predicted.rows))


def confidence(predicted: Classified) -> tuple[Floats, Booleans]:
    """Return the probability that each row's answer is right, and whether it is.

    Of two classes the answer is class 1, so a probability is that of class 1; of more it is the most probable class.
    """
    if is_binary(predicted):
        return predicted.probabilities[:, 1], predicted.truth == 1
    best = predicted.probabilities.argmax(axis=1)
    return predicted.probabilities[np.arange(predicted.rows), best], predicted.truth == best


def calibration_bins(probability: Floats) -> Integers:
    """Return the bin of each probability, from 0."""
    return np.clip((probability * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)


def is_binary(predicted: Classified) -> bool:
    """Whether there are two classes, of which class 1 is judged."""
    return bool(predicted.probabilities.shape[1] == _BINARY)


def _prepare_classified(metric: Metric, predicted: Classified) -> Weighted:  # noqa: PLR0911 - a table
    truth, label = predicted.truth, predicted.label
    match metric:
        case Metric.ROC_AUC:
            return _over_classes(predicted, _roc_auc)
        case Metric.AVERAGE_PRECISION:
            return _over_classes(predicted, _average_precision)
        case Metric.F1:
            return _over_decisions(predicted, lambda hits, said, actual: (2.0 * hits, said + actual))
        case Metric.PRECISION:
            return _over_decisions(predicted, lambda hits, said, actual: (hits, said))
        case Metric.RECALL:
            return _over_decisions(predicted, lambda hits, said, actual: (hits, actual))
        case Metric.BALANCED_ACCURACY:
            return _balanced_accuracy(predicted)
        case Metric.LOG_LOSS:
            chosen = predicted.probabilities[np.arange(len(truth)), truth]
            return _mean(-np.log(np.clip(chosen, _LEAST_PROBABILITY, 1.0)))
        case Metric.BRIER_SCORE:
            return _mean(_squared_distance(predicted))
        case Metric.EXPECTED_CALIBRATION_ERROR:
            return _calibration_error(predicted)
        case _:
            return _mean((truth == label).astype(np.float64))


def _prepare_estimated(metric: Metric, predicted: Estimated) -> Weighted:
    truth, error = predicted.truth, predicted.value - predicted.truth
    match metric:
        case Metric.MEAN_ABSOLUTE_ERROR:
            return _mean(np.abs(error))
        case Metric.MEAN_ABSOLUTE_PERCENTAGE_ERROR:
            # Undefined where a truth is 0: any stand-in for the denominator would outweigh all other rows.
            return _mean(np.divide(np.abs(error), np.abs(truth), out=np.full_like(error, np.nan), where=truth != 0))
        case Metric.ROOT_MEAN_SQUARED_ERROR:
            squared = _mean(error**2)
            return lambda weight: float(np.sqrt(squared(weight)))
        case _:
            return lambda weight: _r2(truth, error, weight)


def _mean(losses: Floats) -> Weighted:
    return lambda weight: _ratio(_dot(losses, weight), float(weight.sum()))


def _r2(truth: Floats, error: Floats, weight: Floats) -> float:
    mean = _ratio(_dot(truth, weight), float(weight.sum()))
    spread = _dot((truth - mean) ** 2, weight)
    return 1.0 - _ratio(_dot(error**2, weight), spread)


def _squared_distance(predicted: Classified) -> Floats:
    """Return (p - y)² of class 1 of two classes, else its sum over all classes."""
    actual = np.zeros_like(predicted.probabilities)
    actual[np.arange(predicted.rows), predicted.truth] = 1.0
    squared = (predicted.probabilities - actual) ** 2
    return squared[:, 1] if is_binary(predicted) else squared.sum(axis=1)


def _calibration_error(predicted: Classified) -> Weighted:
    probability, right = confidence(predicted)
    gap, bins = probability - right, calibration_bins(probability)

    def value(weight: Floats) -> float:
        gaps = np.bincount(bins, weights=weight * gap, minlength=CALIBRATION_BINS)
        return _ratio(float(np.abs(gaps).sum()), float(weight.sum()))

    return value


def _judged_classes(predicted: Classified) -> Iterable[int]:
    """Return class 1 of two, or every class."""
    return (1,) if is_binary(predicted) else range(predicted.probabilities.shape[1])


def _over_classes(predicted: Classified, prepare_one: Callable[[Booleans, Floats], Weighted]) -> Weighted:
    """Judge class 1 of two, or the plain mean over every class against the rest."""
    parts = [prepare_one(predicted.truth == c, predicted.probabilities[:, c]) for c in _judged_classes(predicted)]
    return lambda weight: sum(part(weight) for part in parts) / len(parts)


def _over_decisions(predicted: Classified, fraction: Callable[[float, float, float], tuple[float, float]]) -> Weighted:
    """Judge class 1 of two, or the plain mean over every class, by what was said; nothing of nothing is 0.

    Args:
        predicted: the rows.
        fraction: numerator and denominator of the rows that are rightly said to be of a class, those said to be of it,
            and those that are.
    """
    pairs = [
        ((predicted.truth == c).astype(np.float64), (predicted.label == c).astype(np.float64))
        for c in _judged_classes(predicted)
    ]

    def value(weight: Floats) -> float:
        if not weight.any():
            return float("nan")
        total = 0.0
        for actual, said in pairs:
            part, whole = fraction(_dot(actual * said, weight), _dot(said, weight), _dot(actual, weight))
            total += part / whole if whole else 0.0
        return total / len(pairs)

    return value


def _balanced_accuracy(predicted: Classified) -> Weighted:
    """Return the mean share of right answers over the classes that occur."""
    right = (predicted.truth == predicted.label).astype(np.float64)
    classes = predicted.probabilities.shape[1]

    def value(weight: Floats) -> float:
        actual = np.bincount(predicted.truth, weights=weight, minlength=classes)
        hits = np.bincount(predicted.truth, weights=weight * right, minlength=classes)
        present = actual > 0
        return float((hits[present] / actual[present]).mean()) if present.any() else float("nan")

    return value


def _roc_auc(truth: Booleans, scores: Floats) -> Weighted:
    ranking = Ranking.of(truth, scores)

    def value(weight: Floats) -> float:
        positive, total = ranking.counts(weight)
        negative = total - positive
        below = np.cumsum(negative) - negative
        return _ratio(_dot(positive, below + negative / 2), float(positive.sum() * negative.sum()))

    return value


def _average_precision(truth: Booleans, scores: Floats) -> Weighted:
    ranking = Ranking.of(truth, scores)

    def value(weight: Floats) -> float:
        positive, total = (part[::-1] for part in ranking.counts(weight))
        found, said = np.cumsum(positive), np.cumsum(total)
        precision = np.divide(found, said, out=np.zeros_like(found), where=said > 0)
        return _ratio(_dot(positive, precision), float(positive.sum()))

    return value


def _dot(left: Floats, right: Floats) -> float:
    # Not `@`: for vectors as long as these BLAS starts threads, which wait for each other on a busy machine.
    return float((left * right).sum())


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")
