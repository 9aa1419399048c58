"""Counts of values in bounded memory.

Each sketch is exact up to a number of distinct values and then gets coarser step by step. How coarse it ends depends
only on what was counted, so neither the order of the rows nor the split into batches changes anything.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_MAGNITUDE: Final = np.int64(0x7FFF_FFFF_FFFF_FFFF)


class NumberSketch:
    """Counts of finite numbers; beyond `limit` (at least 2) distinct ones neighbours are counted together."""

    def __init__(self, limit: int = 16_384) -> None:
        self._limit = limit
        self._shift = 0
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self.minimum = math.inf
        """The least number, infinity when there is none."""
        self.maximum = -math.inf
        """The greatest number, minus infinity when there is none."""

    def add(self, values: Floats, counts: Counts | None = None) -> None:
        """Count finite numbers, each once or as often as `counts` says."""
        if not len(values):
            return
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        weights = np.ones(len(values), np.int64) if counts is None else counts
        keys = np.concatenate([self._keys, _ordered_bits(values) >> self._shift])
        self._keys, self._counts = _grouped(keys, np.concatenate([self._counts, weights]))
        while len(self._keys) > self._limit:
            self._shift += 1
            self._keys, self._counts = _grouped(self._keys >> 1, self._counts)

    @property
    def count(self) -> int:
        """How many numbers were counted."""
        return int(self._counts.sum())

    @property
    def mean(self) -> float:
        """The mean; NaN when there are no numbers."""
        return math.fsum(self._values * (self._counts / self.count)) if self.count else math.nan

    def quantiles(self, steps: int) -> tuple[float, ...]:
        """Return the quantiles 0, 1/steps, …, 1; none when there are no numbers."""
        if not self.count:
            return ()
        ranks = np.maximum(1, np.ceil(np.arange(steps + 1) * self.count / steps))
        values = self._values[np.searchsorted(np.cumsum(self._counts), ranks)]
        values[0], values[-1] = self.minimum, self.maximum
        return tuple(map(float, values))

    def below(self, bound: float) -> int:
        """Return how many numbers are less than a bound; at least 1 when any is."""
        found = int(self._counts[self._values < bound].sum())
        return max(found, 1) if self.minimum < bound else 0

    def above(self, bound: float) -> int:
        """Return how many numbers are greater than a bound; at least 1 when any is."""
        found = int(self._counts[self._values > bound].sum())
        return max(found, 1) if self.maximum > bound else 0

    def outside(self, allowed: Sequence[float]) -> int:
        """Return how many numbers are none of `allowed`."""
        return int(self._counts[~np.isin(self._values, allowed)].sum())

    @property
    def _values(self) -> Floats:
        lowest = _numbers(self._keys << self._shift)
        values: Floats = np.fmin(np.fmax(lowest, self.minimum), self.maximum)  # no number is less than -infinity: NaN
        return values


class TextSketch:
    """Counts of texts; beyond `limit` distinct ones only those are kept whose hash is in an ever smaller share."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._level = 0
        self._counts: dict[str, int] = {}

    def add(self, texts: Sequence[str], counts: Sequence[int]) -> None:
        """Count texts, each as often as `counts` says."""
        for text, count in self._kept(texts, counts):
            self._counts[text] = self._counts.get(text, 0) + count
        while len(self._counts) > self._limit:
            self._level += 1
            self._counts = dict(self._kept(list(self._counts), list(self._counts.values())))

    @property
    def is_complete(self) -> bool:
        """Is every text kept?"""
        return self._level == 0

    @property
    def distinct(self) -> int:
        """How many distinct texts there are; estimated when not all are kept."""
        return len(self._counts) << self._level

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each kept text is there."""
        return self._counts

    def top(self, limit: int) -> tuple[tuple[str, int], ...]:
        """Return the most frequent texts with their counts, ties in order of text; none when not all are kept."""
        if not self.is_complete:
            return ()
        return tuple(sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:limit])

    def share_outside(self, allowed: Sequence[str]) -> float:
        """Return the share of texts that are not in `allowed`, from 0 to 1."""
        total = sum(self._counts.values())
        inside = sum(self._counts.get(text, 0) for text in set(allowed))
        return (total - inside) / total if total else 0.0

    def _kept(self, texts: Sequence[str], counts: Sequence[int]) -> Iterable[tuple[str, int]]:
        pairs = zip(texts, counts, strict=True)
        if self._level == 0 or not texts:
            return pairs
        return compress(pairs, _in_share(pd.util.hash_array(np.array(texts, object), categorize=False), self._level))


class HashSketch:
    """Counts of 64-bit hashes, to tell how many repeat another; beyond `limit` distinct ones a share is kept."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self._limit = limit
        self._level = 0
        self._hashes = np.empty(0, np.uint64)
        self._counts = np.empty(0, np.int64)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Count hashes."""
        kept = hashes[_in_share(hashes, self._level)]
        self._hashes, self._counts = _grouped_hashes(
            np.concatenate([self._hashes, kept]), np.concatenate([self._counts, np.ones(len(kept), np.int64)])
        )
        while len(self._hashes) > self._limit:
            self._level += 1
            stay = _in_share(self._hashes, self._level)
            self._hashes, self._counts = self._hashes[stay], self._counts[stay]

    @property
    def repeated(self) -> int:
        """How many repeat another one; estimated when not all are kept."""
        return int(self._counts.sum() - len(self._counts)) << self._level


def _in_share(hashes: NDArray[np.uint64], level: int) -> NDArray[np.bool_]:
    """Say which hashes are in the share of 1 / 2^level that is kept."""
    kept: NDArray[np.bool_] = (hashes & np.uint64((1 << level) - 1)) == 0
    return kept


def _ordered_bits(values: Floats) -> NDArray[np.int64]:
    """Return integers in the order of the numbers; dropping low bits of them joins neighbours."""
    bits = np.ascontiguousarray(values + 0.0).view(np.int64)  # + 0.0: the two zeros are one number
    ordered: NDArray[np.int64] = np.where(bits < 0, bits ^ _MAGNITUDE, bits)
    return ordered


def _numbers(ordered: NDArray[np.int64]) -> Floats:
    values: Floats = np.where(ordered < 0, ordered ^ _MAGNITUDE, ordered).view(np.float64)
    return values


def _grouped(keys: NDArray[np.int64], counts: Counts) -> tuple[NDArray[np.int64], Counts]:
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(counts, starts)


def _grouped_hashes(hashes: NDArray[np.uint64], counts: Counts) -> tuple[NDArray[np.uint64], Counts]:
    if not len(hashes):
        return hashes, counts
    keys, grouped = _grouped(hashes.view(np.int64), counts)
    return keys.view(np.uint64), grouped
