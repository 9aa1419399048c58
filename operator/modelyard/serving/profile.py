"""What a model was asked and what it answered, as cumulative counts in the bins of its baseline.

Counts of several servers are merged by adding them up: they say nothing about drift, whoever compares windows does.
"""

import math
import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import numpy as np

from modelyard.model import Baseline, CategoricalProfile, InputTensor, NumericProfile, OutputTensor, Signature
from modelyard.serving.answers import Run
from modelyard.serving.tensors import Array

SCHEMA: Final = "modelyard.dev/profile/v1"
ROWS_PER_SECOND: Final = 2000
"""Rows looked at, of however many come: enough for every statistic, and little work."""
_FOLD_ROWS: Final = 1024
_FOLD_RUNS: Final = 512
_FOLD_BYTES: Final = 1024 * 1024
_MAX_NEW_CATEGORIES: Final = 20
_MAX_CATEGORY_LENGTH: Final = 64


class _NumericCounts:
    """Counts of numbers in bins; bin i is [edges[i], edges[i+1]), the last one closed."""

    def __init__(self, profile: NumericProfile) -> None:
        self._name = profile.name
        self._edges = np.array(profile.edges)
        self._counts = np.zeros(len(profile.counts), dtype=np.int64)
        self._below = self._above = self._missing = 0

    def add(self, values: Array) -> None:
        last = len(self._edges)
        numbers = values.astype(np.float64, copy=False)
        found = np.bincount(np.searchsorted(self._edges, numbers, side="right"), minlength=last + 1)
        missing = int(np.count_nonzero(np.isnan(numbers)))
        at_top = int(np.count_nonzero(numbers == self._edges[-1]))
        self._counts += found[1:last]
        self._counts[-1] += at_top
        self._below += int(found[0])
        self._above += int(found[last]) - missing - at_top
        self._missing += missing

    def snapshot(self) -> dict[str, Any]:
        counts = {"below": self._below, "above": self._above, "missing": self._missing}
        return {"name": self._name, "kind": "Numeric", "counts": self._counts.tolist()} | counts


class _CategoricalCounts:
    """Counts of categories; of those that the baseline does not have, the first few by name."""

    def __init__(self, profile: CategoricalProfile) -> None:
        self._name = profile.name
        self._counts = dict.fromkeys(profile.categories, 0)
        self._new: Counter[str] = Counter()
        self._other = self._missing = 0

    def add(self, values: Array) -> None:
        # Numbers become texts as they do in the baseline.
        texts = values if values.dtype.hasobject else values.astype(str)
        for category, count in Counter(texts.tolist()).items():
            if category in self._counts:
                self._counts[category] += count
            elif not category:
                self._missing += count
            else:
                self._other += count
                self._note_new(category[:_MAX_CATEGORY_LENGTH], count)

    def _note_new(self, category: str, count: int) -> None:
        if category in self._new or len(self._new) < _MAX_NEW_CATEGORIES:
            self._new[category] += count

    def snapshot(self) -> dict[str, Any]:
        counts = {"other": self._other, "missing": self._missing, "new": dict(self._new)}
        return {"name": self._name, "kind": "Categorical", "counts": list(self._counts.values())} | counts


_Profile: TypeAlias = NumericProfile | CategoricalProfile
_Counters: TypeAlias = dict[str, list[tuple[int, _NumericCounts | _CategoricalCounts]]]


class Profile:
    """Counts what one model is asked and answers. All calls come from the event loop's thread.

    Args:
        identity: Of the server and its model, for the snapshot.
        chance: Draws whether a run is looked at when there are too many (for tests).
    """

    def __init__(
        self,
        signature: Signature,
        baseline: Baseline,
        identity: Mapping[str, Any],
        chance: random.Random | None = None,
    ) -> None:
        self._identity = dict(identity)
        self._boot = uuid.uuid4().hex
        self._started = datetime.now(UTC)
        self._chance = chance or random.Random()  # noqa: S311 - a sample, not a secret
        self._inputs = _counters(baseline.features, signature.inputs)
        self._outputs = _counters(baseline.outputs, signature.outputs)
        self._held: list[Run] = []
        self._held_rows = self._held_bytes = 0
        self._rows = self._sampled_rows = 0
        self._share = 1.0
        self._rows_before = 0
        self._looked = time.monotonic()

    def record(self, run: Run) -> None:
        """Note a run. It is only kept here: looking at many at once takes less time."""
        self._rows += run.rows
        if self._share < 1.0 and self._chance.random() >= self._share:
            return
        self._held.append(run)
        self._held_rows += run.rows
        self._held_bytes += run.size
        if self._held_rows >= _FOLD_ROWS or self._held_bytes >= _FOLD_BYTES or len(self._held) >= _FOLD_RUNS:
            self._fold()

    def tick(self) -> None:
        """Count what is held, and choose from the traffic since the last tick how much of the next to look at."""
        self._fold()
        now = time.monotonic()
        rate = (self._rows - self._rows_before) / max(now - self._looked, 0.001)
        self._share = min(1.0, ROWS_PER_SECOND / max(rate, 1.0))
        self._rows_before, self._looked = self._rows, now

    def snapshot(self, invalid: Mapping[tuple[str, str], int]) -> dict[str, Any]:
        """Return all counts since the start.

        Args:
            invalid: Values refused, by feature and kind; they are in no other count.
        """
        self._fold()
        refused: dict[str, dict[str, int]] = {}
        for (feature, kind), count in invalid.items():
            refused.setdefault(feature, {})[kind] = count
        return {
            "schema": SCHEMA,
            **self._identity,
            "bootId": self._boot,
            "startTime": self._started.isoformat(),
            "rows": self._rows,
            "sampledRows": self._sampled_rows,
            "features": [counts.snapshot() for columns in self._inputs.values() for _, counts in columns],
            "outputs": [counts.snapshot() for columns in self._outputs.values() for _, counts in columns],
            "invalid": refused,
        }

    def _fold(self) -> None:
        held, self._held = self._held, []
        if not self._held_rows:
            return
        step = math.ceil(self._held_rows / (2 * _FOLD_ROWS))
        self._sampled_rows += len(range(0, self._held_rows, step))
        self._held_rows = self._held_bytes = 0
        _add(self._inputs, [run.inputs for run in held], step)
        _add(self._outputs, [run.outputs for run in held], step)


def _counters(profiles: Sequence[_Profile], tensors: Sequence[InputTensor | OutputTensor]) -> _Counters:
    """Return the counters of each tensor's columns; a profile is named after its tensor or `<tensor>/<column>`."""
    rows_of = {tensor.name for tensor in tensors if tensor.shape[0] == -1}
    counters: _Counters = {}
    for profile in profiles:
        tensor, _, column = (profile.name, "", "0") if profile.name in rows_of else profile.name.rpartition("/")
        if tensor in rows_of:
            counters.setdefault(tensor, []).append((int(column), _counts(profile)))
    return counters


def _add(counters: _Counters, runs: Sequence[Mapping[str, Array]], step: int) -> None:
    for name, columns in counters.items():
        arrays = [run[name] for run in runs]
        values = (arrays[0] if len(arrays) == 1 else np.concatenate(arrays))[::step]
        matrix = values.reshape(len(values), -1)
        for column, counts in columns:
            counts.add(matrix[:, column])


def _counts(profile: _Profile) -> _NumericCounts | _CategoricalCounts:
    return _NumericCounts(profile) if isinstance(profile, NumericProfile) else _CategoricalCounts(profile)
