"""Counts are those that a slow and simple count would give, and merge by addition."""

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.model import (
    Baseline,
    CategoricalProfile,
    Datatype,
    InputTensor,
    Kind,
    NumericProfile,
    OutputTensor,
    Signature,
    Task,
)
from modelyard.serving.answers import Run
from modelyard.serving.profile import ROWS_PER_SECOND, Profile

EDGES = (0.0, 1.0, 2.5)
SIGNATURE = Signature(
    task=Task.OTHER,
    inputs=(
        InputTensor(name="size", datatype=Datatype.FP32, shape=(-1, 1), kind=Kind.NUMERIC, nullable=True),
        InputTensor(name="both", datatype=Datatype.INT64, shape=(-1, 2), kind=Kind.NUMERIC),
        InputTensor(name="carrier", datatype=Datatype.BYTES, shape=(-1, 1), kind=Kind.CATEGORICAL),
    ),
    outputs=(OutputTensor(name="value", datatype=Datatype.FP32, shape=(-1,)),),
)
BASELINE = Baseline(
    rows=10,
    features=(
        NumericProfile(name="size", edges=EDGES, counts=(1, 2)),
        NumericProfile(name="both/1", edges=(4.0, 4.0), counts=(3,)),
        CategoricalProfile(name="carrier", categories=("AA", "B6"), counts=(1, 2)),
    ),
    outputs=(NumericProfile(name="value", edges=EDGES, counts=(5, 5)),),
)


def profile(seed: int = 1) -> Profile:
    return Profile(SIGNATURE, BASELINE, {"model": "m"}, random.Random(seed))  # noqa: S311 - a sample


def run(rows: list[tuple[float, int, str]]) -> Run:
    sizes, seconds, carriers = ([row[i] for row in rows] for i in range(3))
    inputs = {
        "size": np.array(sizes, np.float32).reshape(-1, 1),
        "both": np.array([[0, value] for value in seconds], np.int64).reshape(-1, 2),
        "carrier": np.array(carriers, object).reshape(-1, 1),
    }
    return Run(inputs, {"value": np.array(sizes, np.float32) * 2}, len(rows))


def _naive(values: list[float], edges: tuple[float, ...]) -> dict[str, Any]:
    counts = [0] * (len(edges) - 1)
    outside = {"below": 0, "above": 0, "missing": 0}
    for value in values:
        if math.isnan(value):
            outside["missing"] += 1
        elif value < edges[0]:
            outside["below"] += 1
        elif value > edges[-1]:
            outside["above"] += 1
        else:
            counts[next((i for i in range(len(counts)) if value < edges[i + 1]), len(counts) - 1)] += 1
    return {"counts": counts, **outside}


_rows = st.lists(
    st.tuples(
        st.sampled_from([*EDGES, -0.1, 0.5, 2.4, 2.6, math.inf, -math.inf, math.nan]),
        st.integers(3, 5),
        st.sampled_from(["AA", "B6", "", "new", "newer"]),
    ),
    max_size=8,
)


@given(st.lists(_rows, max_size=5))
def test_counts_are_those_of_a_simple_count(runs: list[list[tuple[float, int, str]]]) -> None:
    counted = profile()
    for rows in runs:
        counted.record(run(rows))
    rows = [row for rows in runs for row in rows]
    snapshot = counted.snapshot({})
    size, second, carrier = snapshot["features"]
    assert (snapshot["rows"], snapshot["sampledRows"]) == (len(rows), len(rows))
    assert size == {"name": "size", "kind": "Numeric", **_naive([row[0] for row in rows], EDGES)}
    assert second == {"name": "both/1", "kind": "Numeric", **_naive([row[1] for row in rows], (4.0, 4.0))}
    names = [row[2] for row in rows]
    assert carrier["counts"] == [names.count("AA"), names.count("B6")]
    assert carrier["missing"] == names.count("")
    assert carrier["new"] == {name: names.count(name) for name in ("new", "newer") if name in names}
    assert carrier["other"] == sum(carrier["new"].values())
    assert snapshot["outputs"][0] == {"name": "value", "kind": "Numeric", **_naive([2 * r[0] for r in rows], EDGES)}


def test_counts_of_two_servers_add_up_to_those_of_one() -> None:
    rows = [(index / 7, index % 6, "AA" if index % 3 else "new") for index in range(40)]
    one, first, second = profile(), profile(), profile()
    one.record(run(rows))
    first.record(run(rows[:13]))
    second.record(run(rows[13:]))
    parts = [part.snapshot({})["features"] for part in (first, second)]
    for whole, a, b in zip(one.snapshot({})["features"], *parts, strict=True):
        assert whole["counts"] == [x + y for x, y in zip(a["counts"], b["counts"], strict=True)]
    assert len({part.snapshot({})["bootId"] for part in (one, first, second)}) == 3


def test_more_rows_than_can_be_looked_at_are_thinned_by_chance_and_counted_all() -> None:
    counted = profile(seed=7)
    one_row = run([(0.5, 4, "AA")])
    for _ in range(20):
        for _ in range(ROWS_PER_SECOND):
            counted.record(one_row)
        counted._looked -= 0.1  # as if a tenth of a second had passed
        counted.tick()
    snapshot = counted.snapshot({})
    expected = ROWS_PER_SECOND + 19 * ROWS_PER_SECOND / 10
    assert snapshot["rows"] == 20 * ROWS_PER_SECOND
    assert snapshot["sampledRows"] == pytest.approx(expected, rel=0.2)
    assert snapshot["features"][0]["counts"][0] == snapshot["sampledRows"]


def test_very_large_run_is_looked_at_in_part() -> None:
    counted = profile()
    counted.record(run([(0.5, 4, "AA")] * 50_000))
    snapshot = counted.snapshot({})
    assert snapshot["rows"] == 50_000
    assert 1000 <= snapshot["sampledRows"] <= 2048
    assert snapshot["features"][0]["counts"][0] == snapshot["sampledRows"]


def test_new_categories_are_bounded_in_number_and_length() -> None:
    counted = profile()
    counted.record(run([(0.5, 4, f"{index:03}" * 100) for index in range(500)]))
    carrier = counted.snapshot({})["features"][2]
    assert carrier["other"] == 500
    assert len(carrier["new"]) == 20
    assert all(len(name) <= 64 for name in carrier["new"])


def test_refused_values_are_shown_by_feature_and_kind() -> None:
    refused = {("size", "wrong_type"): 2, ("size", "missing"): 1}
    assert profile().snapshot(refused)["invalid"] == {"size": {"wrong_type": 2, "missing": 1}}


def test_categories_that_are_numbers_are_named_as_in_the_baseline() -> None:
    tensor = InputTensor(name="size", datatype=Datatype.FP32, shape=(-1, 1), kind=Kind.CATEGORICAL)
    values = np.array([[0.1], [2.0], [0.1]], np.float32)
    categories = CategoricalProfile(name="size", categories=("0.1", "2.0"), counts=(1, 1))
    signature = SIGNATURE.model_copy(update={"inputs": (tensor,)})
    counted = Profile(signature, Baseline(rows=2, features=(categories,)), {})
    counted.record(Run({"size": values}, {}, 3))
    assert counted.snapshot({})["features"][0]["counts"] == [2, 1]
