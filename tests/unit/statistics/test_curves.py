import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from modelyard.api.v1alpha1.trainingrun import Metric
from modelyard.statistics.curves import (
    Curve,
    calibration,
    confusion,
    precision_recall_curve,
    residual_histogram,
    roc_curve,
    score_histogram,
)
from modelyard.statistics.metrics import Classified, Estimated, score


@st.composite
def classified(draw: st.DrawFn, classes: int = 2) -> Classified:
    rows = draw(st.integers(classes, 60))
    truth = np.r_[np.arange(classes), draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))]
    raw = draw(
        st.lists(
            st.lists(st.integers(1, 5), min_size=classes, max_size=classes), min_size=len(truth), max_size=len(truth)
        )
    )
    probabilities = np.array(raw, dtype=np.float64) / np.sum(raw, axis=1, keepdims=True)
    return Classified(truth.astype(np.int64), probabilities.argmax(axis=1), probabilities)


@settings(max_examples=50, deadline=None)
@given(rows=classified())
def test_area_under_the_drawn_roc_curve_is_the_metric(rows: Classified) -> None:
    curve = roc_curve(rows.truth == 1, rows.probabilities[:, 1])
    assert curve is not None
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(score(Metric.ROC_AUC, rows))
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


@settings(max_examples=50, deadline=None)
@given(rows=classified())
def test_steps_under_the_precision_recall_curve_are_the_average_precision(rows: Classified) -> None:
    curve = precision_recall_curve(rows.truth == 1, rows.probabilities[:, 1])
    assert curve is not None
    assert float((np.diff(curve.x, prepend=0) * curve.y).sum()) == pytest.approx(score(Metric.AVERAGE_PRECISION, rows))


@settings(max_examples=50, deadline=None)
@given(rows=classified(classes=3))
def test_confusion_matrix_holds_every_row_once(rows: Classified) -> None:
    counts = confusion(rows)
    assert counts.sum() == rows.rows
    assert (counts == reference.confusion_matrix(rows.truth, rows.label, labels=[0, 1, 2])).all()
    assert np.trace(counts) / rows.rows == pytest.approx(score(Metric.ACCURACY, rows))


def test_label_that_is_no_class_has_a_column_of_its_own() -> None:
    rows = Classified(np.array([0, 1]), np.array([0, -1]), np.full((2, 2), 0.5))
    assert confusion(rows).tolist() == [[1, 0, 0], [0, 0, 1]]


@settings(max_examples=50, deadline=None)
@given(rows=st.one_of(classified(), classified(classes=3)))
def test_distance_from_the_diagonal_is_the_calibration_error(rows: Classified) -> None:
    bins = calibration(rows)
    assert bins.rows.sum() == rows.rows
    error = float((np.abs(bins.promised - bins.observed) * bins.rows).sum() / rows.rows)
    assert error == pytest.approx(score(Metric.EXPECTED_CALIBRATION_ERROR, rows))


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_one_class_has_no_roc_curve(truth: list[bool]) -> None:
    assert roc_curve(np.array(truth), np.array([0.1, 0.9])) is None


def test_no_positive_row_has_no_precision_recall_curve() -> None:
    assert precision_recall_curve(np.zeros(2, bool), np.array([0.1, 0.9])) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=500), st.integers(2, 50))
def test_thinned_curve_is_short_and_keeps_its_ends(values: list[float], points: int) -> None:
    curve = Curve(np.linspace(0, 1, len(values)), np.array(values))
    thinned = curve.thinned(points)
    assert len(thinned.x) <= max(points + 1, 2)
    assert (thinned.x[0], thinned.y[-1]) == (curve.x[0], curve.y[-1])


def test_histograms_count_every_row() -> None:
    random = np.random.default_rng(0)
    scores = random.random(500)
    rows = Classified(random.integers(0, 2, 500), np.zeros(500, int), np.stack([1 - scores, scores], axis=1))
    assert sum(int(counts.sum()) for counts in score_histogram(rows, ("no", "yes")).counts.values()) == 500
    errors = residual_histogram(Estimated(scores, scores + random.normal(size=500)), "v7")
    assert errors.counts["v7"].sum() == 500
    constant = residual_histogram(Estimated(scores, scores), "v7")
    assert constant.counts["v7"].sum() == 500
