import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.model import NumericProfile
from modelyard.statistics.histogram import BINS, histogram, most_frequent, quantile_edges

numbers = st.lists(
    st.one_of(st.floats(width=32), st.integers(-3, 3).map(float), st.just(float("nan"))), min_size=0, max_size=200
).map(lambda values: np.array(values, dtype=np.float64))


@settings(max_examples=200, deadline=None)
@given(values=numbers)
def test_every_value_is_counted_once_and_the_profile_is_valid(values: np.ndarray) -> None:
    counted = histogram(values, quantile_edges(values))
    assert sum(counted.counts) + counted.below + counted.above + counted.missing == len(values)
    NumericProfile(
        name="x",
        edges=counted.edges,
        counts=counted.counts,
        below=counted.below,
        above=counted.above,
        missing=counted.missing,
    )
    assert counted.below == np.isneginf(values).sum()
    assert counted.above == np.isposinf(values).sum()


@settings(max_examples=100, deadline=None)
@given(values=numbers, other=numbers)
def test_counts_agree_with_the_definition_of_a_bin(values: np.ndarray, other: np.ndarray) -> None:
    edges = quantile_edges(values)
    counted = histogram(other, edges)
    for index, count in enumerate(counted.counts):
        low, high, last = edges[index], edges[index + 1], index == len(counted.counts) - 1
        assert count == int(((other >= low) & ((other <= high) if last else (other < high))).sum())


def test_continuous_values_fill_bins_alike() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    counted = histogram(values, quantile_edges(values))
    assert len(counted.counts) == BINS
    assert all(900 <= count <= 1100 for count in counted.counts)


def test_frequent_value_has_a_bin_of_its_own() -> None:
    rain = np.r_[np.zeros(900), np.linspace(0.01, 1.0, 100)]
    counted = histogram(rain, quantile_edges(rain))
    assert counted.counts[0] == 900


def test_frequent_greatest_value_has_a_bin_of_its_own() -> None:
    visibility = np.r_[np.full(900, 10.0), np.linspace(0.0, 9.9, 100)]
    counted = histogram(visibility, quantile_edges(visibility))
    assert counted.counts[-1] == 900


def test_greatest_float32_needs_no_further_edge() -> None:
    greatest = float(np.finfo(np.float32).max)
    assert quantile_edges(np.array([0.0, greatest, greatest])).tolist() == [0.0, greatest]


def test_flag_has_a_bin_for_each_value() -> None:
    assert histogram(np.array([0.0, 0.0, 1.0]), quantile_edges(np.array([0.0, 0.0, 1.0]))).counts == (2, 1)


def test_most_frequent_texts_come_first_and_ties_are_in_order() -> None:
    values = np.array(["b", "a", "c", "c", "a", "d"])
    assert most_frequent(values, 3) == (("a", 2), ("c", 2), ("b", 1))
