import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from modelyard.api.v1alpha1.trainingrun import Metric
from modelyard.statistics.metrics import CLASSIFICATION, Classified, Estimated, metrics_of, prepare, score


@st.composite
def classified(draw: st.DrawFn, classes: int = 2) -> Classified:
    rows = draw(st.integers(classes, 60))
    truth = np.array(
        [
            *range(classes),
            *draw(st.lists(st.integers(0, classes - 1), min_size=rows - classes, max_size=rows - classes)),
        ]
    )
    # Few distinct scores, so that ties are common.
    raw = draw(st.lists(st.lists(st.integers(1, 5), min_size=classes, max_size=classes), min_size=rows, max_size=rows))
    probabilities = np.array(raw, dtype=np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Classified(truth, probabilities.argmax(axis=1), probabilities)


@st.composite
def weights(draw: st.DrawFn, rows: int) -> np.ndarray:
    return np.array(draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)), dtype=np.float64)


def expected(metric: Metric, rows: Classified, weight: np.ndarray) -> float:  # noqa: PLR0911 - a table
    truth, label, probabilities = rows.truth, rows.label, rows.probabilities
    score_of_one = probabilities[:, 1]
    match metric:
        case Metric.ROC_AUC:
            return float(reference.roc_auc_score(truth, score_of_one, sample_weight=weight))
        case Metric.AVERAGE_PRECISION:
            return float(reference.average_precision_score(truth, score_of_one, sample_weight=weight))
        case Metric.LOG_LOSS:
            return float(reference.log_loss(truth, probabilities, sample_weight=weight, labels=[0, 1]))
        case Metric.ACCURACY:
            return float(reference.accuracy_score(truth, label, sample_weight=weight))
        case Metric.BALANCED_ACCURACY:
            return float(reference.balanced_accuracy_score(truth, label, sample_weight=weight))
        case Metric.BRIER_SCORE:
            return float(reference.brier_score_loss(truth, score_of_one, sample_weight=weight))
        case Metric.PRECISION:
            return float(reference.precision_score(truth, label, sample_weight=weight, zero_division=0))
        case Metric.RECALL:
            return float(reference.recall_score(truth, label, sample_weight=weight, zero_division=0))
        case Metric.EXPECTED_CALIBRATION_ERROR:
            return calibration_error(truth == 1, score_of_one, weight)
        case _:
            return float(reference.f1_score(truth, label, sample_weight=weight, zero_division=0))


def calibration_error(right: np.ndarray, promised: np.ndarray, weight: np.ndarray) -> float:
    """By its definition, bin by bin: scikit-learn has none."""
    total = 0.0
    for low in range(10):
        chosen = (promised * 10 >= low) & ((promised * 10 < low + 1) | (low == 9))
        if weight[chosen].any():
            gap = np.average(promised[chosen], weights=weight[chosen]) - np.average(
                right[chosen], weights=weight[chosen]
            )
            total += weight[chosen].sum() * abs(gap)
    return float(total / weight.sum())


@pytest.mark.parametrize("metric", CLASSIFICATION)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_binary_metrics_agree_with_scikit_learn(metric: Metric, data: st.DataObject) -> None:
    rows = data.draw(classified())
    weight = data.draw(weights(rows.rows))
    if not all(weight[rows.truth == c].any() for c in (0, 1)):
        weight[:] = 1.0
    assert prepare(metric, rows)(weight) == pytest.approx(expected(metric, rows, weight), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(rows=classified(classes=3))
def test_multiclass_metrics_agree_with_scikit_learn(rows: Classified) -> None:
    assert score(Metric.ROC_AUC, rows) == pytest.approx(
        reference.roc_auc_score(rows.truth, rows.probabilities, multi_class="ovr", average="macro")
    )
    assert score(Metric.F1, rows) == pytest.approx(
        reference.f1_score(rows.truth, rows.label, labels=[0, 1, 2], average="macro", zero_division=0)
    )
    assert score(Metric.BRIER_SCORE, rows) == pytest.approx(
        reference.brier_score_loss(rows.truth, rows.probabilities, labels=[0, 1, 2])
    )
    assert score(Metric.BALANCED_ACCURACY, rows) == pytest.approx(
        reference.balanced_accuracy_score(rows.truth, rows.label)
    )
    for metric, of in ((Metric.PRECISION, reference.precision_score), (Metric.RECALL, reference.recall_score)):
        expected_mean = of(rows.truth, rows.label, labels=[0, 1, 2], average="macro", zero_division=0)
        assert score(metric, rows) == pytest.approx(expected_mean)
    best = rows.probabilities.argmax(axis=1)
    assert score(Metric.EXPECTED_CALIBRATION_ERROR, rows) == pytest.approx(
        calibration_error(rows.truth == best, rows.probabilities.max(axis=1), np.ones(rows.rows))
    )
    assert score(Metric.LOG_LOSS, rows) == pytest.approx(
        reference.log_loss(rows.truth, rows.probabilities, labels=[0, 1, 2])
    )


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_regression_metrics_agree_with_scikit_learn(data: st.DataObject) -> None:
    numbers = st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=40)
    truth = np.array(data.draw(numbers))
    truth[np.abs(truth) < 1e-3] = 1.0
    truth[0] = truth[1] + 1.5 if truth[1] != -1.5 else 2.0
    value = truth + np.array(data.draw(st.lists(st.floats(-10, 10), min_size=len(truth), max_size=len(truth))))
    weight = data.draw(weights(len(truth)))
    weight[:2] = 1.0
    rows = Estimated(truth, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = {
            Metric.MEAN_ABSOLUTE_ERROR: reference.mean_absolute_error(truth, value, sample_weight=weight),
            Metric.MEAN_ABSOLUTE_PERCENTAGE_ERROR: reference.mean_absolute_percentage_error(
                truth, value, sample_weight=weight
            ),
            Metric.ROOT_MEAN_SQUARED_ERROR: reference.root_mean_squared_error(truth, value, sample_weight=weight),
            Metric.R2: reference.r2_score(truth, value, sample_weight=weight),
        }
    for metric, number in wanted.items():
        assert prepare(metric, rows)(weight) == pytest.approx(number, rel=1e-6, abs=1e-9)


def test_percentage_of_a_zero_is_undefined_and_never_huge() -> None:
    assert np.isnan(score(Metric.MEAN_ABSOLUTE_PERCENTAGE_ERROR, Estimated(np.array([0.0, 1.0]), np.ones(2))))


@pytest.mark.parametrize("metric", [Metric.ROC_AUC, Metric.AVERAGE_PRECISION])
def test_ranking_metric_is_undefined_without_positive_rows(metric: Metric) -> None:
    rows = Classified(np.zeros(3, int), np.zeros(3, int), np.full((3, 2), 0.5))
    assert np.isnan(score(metric, rows))


@pytest.mark.parametrize("metric", list(Metric))
def test_metric_of_no_rows_is_undefined(metric: Metric) -> None:
    rows = Classified(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)))
    values = Estimated(np.zeros(0), np.zeros(0))
    assert np.isnan(score(metric, rows if metric in metrics_of(rows) else values))


def test_metric_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'rocAuc' is not defined .* must be one of meanAbsoluteError"):
        prepare(Metric.ROC_AUC, Estimated(np.zeros(1), np.zeros(1)))


def test_impossible_probability_costs_a_bounded_loss() -> None:
    rows = Classified(np.array([1]), np.array([0]), np.array([[1.0, 0.0]]))
    assert 15 < score(Metric.LOG_LOSS, rows) < 17
