import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.validation.sketches import HashSketch, NumberSketch, TextSketch

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def numbers(*parts: list[float], limit: int = 16_384) -> NumberSketch:
    sketch = NumberSketch(limit)
    for part in parts:
        sketch.add(np.array(part, float))
    return sketch


@given(st.lists(NUMBERS, min_size=1, max_size=60))
def test_few_numbers_are_kept_exactly(values: list[float]) -> None:
    sketch = numbers(values)
    assert (sketch.count, sketch.minimum, sketch.maximum) == (len(values), min(values), max(values))
    assert sketch.quantiles(len(values))[1:] == tuple(value + 0.0 for value in sorted(values))
    assert sketch.below(values[0]) == sum(value < values[0] for value in values)
    assert sketch.above(values[0]) == sum(value > values[0] for value in values)


@given(st.lists(NUMBERS, max_size=60), st.randoms(use_true_random=False), st.integers(0, 60), st.integers(2, 8))
def test_neither_order_nor_parts_change_a_sketch(values: list[float], random: object, cut: int, limit: int) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = numbers(values, limit=limit), numbers(shuffled[:cut], shuffled[cut:], limit=limit)
    assert (one.quantiles(10), one.count, one.minimum, one.maximum) == (
        other.quantiles(10),
        other.count,
        other.minimum,
        other.maximum,
    )


def test_many_numbers_are_kept_nearly() -> None:
    values = np.random.default_rng(0).normal(1015, 8, 200_000)
    sketch = numbers(list(values))
    exact = np.quantile(values, np.linspace(0, 1, 101))
    assert np.abs(np.array(sketch.quantiles(100)) - exact).max() < 0.05
    assert sketch.mean == pytest.approx(values.mean(), abs=0.01)


def test_no_number_is_beyond_what_there_is() -> None:
    values = np.random.default_rng(0).normal(0, 1, 1000)
    sketch = numbers(list(values), limit=4)
    assert (sketch.below(values.min()), sketch.above(values.max())) == (0, 0)
    assert sketch.below(np.nextafter(values.min(), 9)) >= 1


def test_counts_of_values_are_weights() -> None:
    sketch = NumberSketch()
    sketch.add(np.array([1.0, 3.0]), np.array([3, 1]))
    assert (sketch.count, sketch.mean, sketch.quantiles(4)) == (4, 1.5, (1, 1, 1, 1, 3))


def test_huge_numbers_have_a_mean() -> None:
    assert numbers([1e308] * 40).mean == pytest.approx(1e308)


def test_frequent_texts_come_first_and_ties_by_text() -> None:
    sketch = TextSketch()
    sketch.add(["b", "a", "c"], [2, 2, 5])
    assert sketch.top(2) == (("c", 5), ("a", 2))
    assert sketch.share_outside(("c", "zz")) == 4 / 9


@given(st.lists(st.text(max_size=3), max_size=80), st.integers(1, 6))
def test_order_of_texts_does_not_matter(texts: list[str], limit: int) -> None:
    one, other = TextSketch(limit), TextSketch(limit)
    one.add(texts, [1] * len(texts))
    for text in reversed(texts):
        other.add([text], [1])
    assert one.counts == other.counts
    assert one.is_complete == other.is_complete == (len(set(texts)) <= limit)


def test_distinct_texts_are_estimated_beyond_the_limit() -> None:
    sketch = TextSketch(limit=500)
    sketch.add([str(i) for i in range(20_000)], [1] * 20_000)
    assert not sketch.is_complete
    assert sketch.top(5) == ()
    assert sketch.distinct == pytest.approx(20_000, rel=0.25)


@given(st.lists(st.integers(0, 20), max_size=50))
def test_repeated_hashes_are_counted(values: list[int]) -> None:
    sketch = HashSketch()
    for part in (values[:7], values[7:]):
        sketch.add(np.array(part, np.uint64))
    assert sketch.repeated == len(values) - len(set(values))


def test_repeated_hashes_are_estimated_beyond_the_limit() -> None:
    hashes = np.random.default_rng(0).integers(0, 1 << 63, 50_000, dtype=np.uint64)
    sketch = HashSketch(limit=5000)
    for part in np.array_split(np.concatenate([hashes, hashes[:20_000]]), 7):
        sketch.add(part)
    assert sketch.repeated == pytest.approx(20_000, rel=0.1)
