import numpy as np
import pytest

from modelyard.api.v1alpha1.trainingrun import Metric
from modelyard.statistics import bootstrap as module
from modelyard.statistics.bootstrap import bootstrap
from modelyard.statistics.metrics import Classified, Estimated


def coin(rows: int, seed: int, share: float = 0.7) -> Classified:
    random = np.random.default_rng(seed)
    truth = (random.random(rows) < 0.5).astype(int)
    label = np.where(random.random(rows) < share, truth, 1 - truth)
    return Classified(truth, label, np.stack([1.0 - label, label], axis=1))


def test_interval_has_the_width_of_the_binomial_one() -> None:
    interval = bootstrap(Metric.ACCURACY, [coin(2000, 1)], seed=0).interval()
    assert interval is not None
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 2000), rel=0.15)


def test_interval_holds_the_true_value_as_often_as_it_says() -> None:
    held = 0
    for seed in range(40):
        interval = bootstrap(Metric.ACCURACY, [coin(300, seed)], seed=seed).interval()
        held += interval is not None and interval.low <= 0.7 <= interval.high
    assert 34 <= held <= 40


def test_interval_of_many_rows_is_scaled_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = coin(8000, 3)
    exact = bootstrap(Metric.ACCURACY, [rows], seed=0).interval()
    monkeypatch.setattr(module, "MAX_ROWS", 2000)
    sampled = bootstrap(Metric.ACCURACY, [rows], seed=0).interval()
    assert exact is not None
    assert sampled is not None
    assert sampled.high - sampled.low == pytest.approx(exact.high - exact.low, rel=0.15)
    point = float((rows.truth == rows.label).mean())
    assert sampled.low < point < sampled.high


def test_paired_difference_is_narrower_than_two_intervals() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=500)
    one = Estimated(truth, truth + random.normal(size=500))
    other = Estimated(truth, one.value + random.normal(scale=0.01, size=500))
    both = bootstrap(Metric.MEAN_ABSOLUTE_ERROR, [one, other], seed=0)
    difference, single = both.difference(0, 1), both.interval()
    assert difference is not None
    assert single is not None
    assert difference.high - difference.low < (single.high - single.low) / 10


def test_more_comparisons_widen_the_interval() -> None:
    both = bootstrap(Metric.ACCURACY, [coin(500, 1), coin(500, 2)], seed=0)
    one, many = both.difference(0, 1, comparisons=2), both.difference(0, 1, comparisons=50)
    assert one is not None
    assert many is not None
    assert many.low < one.low < one.high < many.high


def test_same_seed_gives_the_same_interval() -> None:
    assert (
        bootstrap(Metric.F1, [coin(200, 1)], seed=5).interval()
        == bootstrap(Metric.F1, [coin(200, 1)], seed=5).interval()
    )


@pytest.mark.parametrize("rows", [0, 3])
def test_undefined_metric_has_no_interval(rows: int) -> None:
    none = Classified(np.zeros(rows, int), np.zeros(rows, int), np.full((rows, 2), 0.5))
    both = bootstrap(Metric.ROC_AUC, [none, none], seed=0)
    assert both.interval() is None
    assert both.difference(0, 1) is None
    assert both.difference(0, 1, comparisons=3) is None


def test_rare_class_that_resamples_miss_still_gives_an_interval() -> None:
    truth = np.array([1, *[0] * 40])
    scores = np.linspace(0.9, 0.1, 41)
    rows = Classified(truth, truth, np.stack([1 - scores, scores], axis=1))
    interval = bootstrap(Metric.ROC_AUC, [rows], seed=0).interval()
    assert interval is not None
    assert interval.low <= 1.0 <= interval.high


def test_interval_of_the_difference_holds_the_true_one_as_often_as_it_says() -> None:
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        truth = (random.random(400) < 0.5).astype(int)
        # Both err on the same hard rows, so that only pairing tells them apart.
        hard = random.random(400) < 0.25
        better = np.where(hard | (random.random(400) < 0.05), 1 - truth, truth)
        worse = np.where(hard | (random.random(400) < 0.15), 1 - truth, truth)
        models = [Classified(truth, label, np.stack([1.0 - label, label], axis=1)) for label in (better, worse)]
        interval = bootstrap(Metric.ACCURACY, models, seed=seed).difference(0, 1)
        held += interval is not None and interval.low <= 0.75 * (0.15 - 0.05) <= interval.high
    assert 34 <= held <= 40
