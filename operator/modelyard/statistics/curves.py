"""What a report draws: curves, bins and counts of predictions that were judged. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from modelyard.statistics.metrics import (
    CALIBRATION_BINS,
    Classified,
    Estimated,
    calibration_bins,
    confidence,
)
from modelyard.statistics.ranking import Booleans, Floats, Integers, Ranking

HISTOGRAM_BINS: Final = 20


@dataclass(frozen=True)
class Curve:
    """Points of a curve, in order."""

    x: Floats
    y: Floats

    def thinned(self, points: int) -> "Curve":
        """Return at most so many points, spread evenly along the curve; its ends stay."""
        if len(self.x) <= points:
            return self
        walked = np.r_[0.0, np.cumsum(np.hypot(np.diff(self.x), np.diff(self.y)))]
        chosen = np.unique(np.searchsorted(walked, np.linspace(0.0, walked[-1], points)))
        kept = np.unique(np.r_[0, chosen, len(self.x) - 1])
        return Curve(self.x[kept], self.y[kept])


def roc_curve(truth: Booleans, scores: Floats) -> Curve | None:
    """Return false positive rate and true positive rate, from (0, 0) to (1, 1); None unless both classes occur."""
    positive, total = (part[::-1] for part in Ranking.of(truth, scores).counts(np.ones(len(truth))))
    negative = total - positive
    if not positive.sum() or not negative.sum():
        return None
    return Curve(np.r_[0.0, np.cumsum(negative) / negative.sum()], np.r_[0.0, np.cumsum(positive) / positive.sum()])


def precision_recall_curve(truth: Booleans, scores: Floats) -> Curve | None:
    """Return recall and precision at each threshold, from the highest one; None without a positive row."""
    positive, total = (part[::-1] for part in Ranking.of(truth, scores).counts(np.ones(len(truth))))
    if not positive.sum():
        return None
    found = np.cumsum(positive)
    return Curve(found / positive.sum(), found / np.cumsum(total))


@dataclass(frozen=True)
class Calibration:
    """Rows in bins of what was promised; bins without rows are left out."""

    promised: Floats
    """Mean probability in each bin."""
    observed: Floats
    """Share of the bin's rows for which it came true."""
    rows: Integers


def calibration(predicted: Classified) -> Calibration:
    """Return how often what was promised with a probability came true."""
    probability, right = confidence(predicted)
    bins = calibration_bins(probability)
    rows = np.bincount(bins, minlength=CALIBRATION_BINS)
    filled = rows > 0
    promised = np.bincount(bins, weights=probability, minlength=CALIBRATION_BINS)[filled] / rows[filled]
    observed = np.bincount(bins, weights=right.astype(np.float64), minlength=CALIBRATION_BINS)[filled] / rows[filled]
    return Calibration(promised, observed, rows[filled].astype(np.int64))


def confusion(predicted: Classified) -> Integers:
    """Return how many rows of each true class (row) were said to be of each class (column).

    A label that is none of the classes is counted in one column more, the last.
    """
    classes = predicted.probabilities.shape[1]
    said = np.where(predicted.label < 0, classes, predicted.label)
    columns = classes + bool((predicted.label < 0).any())
    flat = np.bincount(predicted.truth * columns + said, minlength=classes * columns)
    return flat.reshape(classes, columns).astype(np.int64)


@dataclass(frozen=True)
class Histogram:
    """Counts of rows in bins between edges, by group."""

    edges: Floats
    counts: dict[str, Integers]


def score_histogram(predicted: Classified, classes: tuple[str, str]) -> Histogram:
    """Return how the probabilities of class 1 are spread over the rows of each of two classes."""
    edges = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
    scores = np.clip(predicted.probabilities[:, 1], 0.0, 1.0)
    return Histogram(
        edges,
        {
            name: np.histogram(scores[predicted.truth == index], edges)[0].astype(np.int64)
            for index, name in enumerate(classes)
        },
    )


def residual_histogram(predicted: Estimated, name: str) -> Histogram:
    """Return how the errors (estimate less truth) are spread."""
    error = predicted.value - predicted.truth
    edges = np.histogram_bin_edges(error, HISTOGRAM_BINS)
    return Histogram(edges, {name: np.histogram(error, edges)[0].astype(np.int64)})
