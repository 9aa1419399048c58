"""Metrics of predictions, prepared once and then evaluated for many weightings of the same rows.

A weight is a count of how often a row occurs, so a bootstrap resample costs one pass and no sorting.
An undefined metric, such as rocAuc on rows of a single class, is NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelyard.api.v1alpha1.trainingrun import Metric

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Weighted: TypeAlias = Callable[[Floats], float]
"""The value of a metric when row i occurs weight[i] times."""

CLASSIFICATION: Final = (Metric.ROC_AUC, Metric.AVERAGE_PRECISION, Metric.LOG_LOSS, Metric.ACCURACY, Metric.F1)
REGRESSION: Final = (Metric.MEAN_ABSOLUTE_ERROR, Metric.ROOT_MEAN_SQUARED_ERROR, Metric.R2)

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


def _prepare_classified(metric: Metric, predicted: Classified) -> Weighted:
    truth, label = predicted.truth, predicted.label
    match metric:
        case Metric.ROC_AUC:
            return _over_classes(predicted, _roc_auc)
        case Metric.AVERAGE_PRECISION:
            return _over_classes(predicted, _average_precision)
        case Metric.F1:
            return _f1(predicted)
        case Metric.LOG_LOSS:
            chosen = predicted.probabilities[np.arange(len(truth)), truth]
            return _mean(-np.log(np.clip(chosen, _LEAST_PROBABILITY, 1.0)))
        case _:
            return _mean((truth == label).astype(np.float64))


def _prepare_estimated(metric: Metric, predicted: Estimated) -> Weighted:
    truth, error = predicted.truth, predicted.value - predicted.truth
    match metric:
        case Metric.MEAN_ABSOLUTE_ERROR:
            return _mean(np.abs(error))
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


def _over_classes(predicted: Classified, prepare_one: Callable[[NDArray[np.bool_], Floats], Weighted]) -> Weighted:
    """Judge class 1 of two, or the plain mean over every class against the rest."""
    classes = predicted.probabilities.shape[1]
    judged = (1,) if classes == _BINARY else range(classes)
    parts = [prepare_one(predicted.truth == c, predicted.probabilities[:, c]) for c in judged]
    return lambda weight: sum(part(weight) for part in parts) / len(parts)


def _f1(predicted: Classified) -> Weighted:
    classes = predicted.probabilities.shape[1]
    judged = (1,) if classes == _BINARY else range(classes)
    pairs = [((predicted.truth == c).astype(np.float64), (predicted.label == c).astype(np.float64)) for c in judged]

    def value(weight: Floats) -> float:
        if not weight.any():
            return float("nan")
        total = 0.0
        for actual, said in pairs:
            either = _dot(actual + said, weight)
            total += 2.0 * _dot(actual * said, weight) / either if either else 0.0
        return total / len(pairs)

    return value


@dataclass(frozen=True)
class _Ranking:
    """Rows in order of score, and where each run of equal scores begins."""

    order: Integers
    starts: Integers
    positive: Floats

    @classmethod
    def of(cls, truth: NDArray[np.bool_], scores: Floats) -> "_Ranking":
        order = np.argsort(scores, kind="stable").astype(np.int64)
        ranked = scores[order]
        starts = np.flatnonzero(np.r_[len(ranked) > 0, ranked[1:] != ranked[:-1]]).astype(np.int64)
        return cls(order, starts, truth[order].astype(np.float64))

    def counts(self, weight: Floats) -> tuple[Floats, Floats]:
        """Return the weights of positive rows and of all rows at each distinct score, ascending."""
        if not len(self.starts):
            return np.zeros(0), np.zeros(0)
        ranked = weight[self.order]
        return np.add.reduceat(ranked * self.positive, self.starts), np.add.reduceat(ranked, self.starts)


def _roc_auc(truth: NDArray[np.bool_], scores: Floats) -> Weighted:
    ranking = _Ranking.of(truth, scores)

    def value(weight: Floats) -> float:
        positive, total = ranking.counts(weight)
        negative = total - positive
        below = np.cumsum(negative) - negative
        return _ratio(_dot(positive, below + negative / 2), float(positive.sum() * negative.sum()))

    return value


def _average_precision(truth: NDArray[np.bool_], scores: Floats) -> Weighted:
    ranking = _Ranking.of(truth, scores)

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
