"""Rows in order of a score: what ranking metrics and the curves of a report are counted from."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Ranking:
    """Rows in order of score, and where each run of equal scores begins."""

    order: Integers
    starts: Integers
    positive: Floats

    @classmethod
    def of(cls, truth: Booleans, scores: Floats) -> "Ranking":
        """Rank rows by their score, ascending.

        Args:
            truth: is a row positive?
            scores: how sure a model is of that.
        """
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
