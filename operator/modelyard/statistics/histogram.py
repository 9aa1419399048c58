"""Fixed bins over training data, in which drift is measured later: few, about equally full, mergeable by addition."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelyard.statistics.ranking import Floats

BINS: Final = 10


@dataclass(frozen=True)
class Histogram:
    """Counts of numbers. Bin i is [edges[i], edges[i+1]), the last one closed."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int
    missing: int


def quantile_edges(values: Floats, bins: int = BINS) -> Floats:
    """Return edges of about equally full bins.

    A value that alone fills a bin gets a bin of its own, so that a change of its share can be seen.
    NaN and infinities are left out; a single distinct value gives two equal edges, none at all gives (0, 0).
    """
    finite = np.sort(values[np.isfinite(values)])
    if not len(finite):
        return np.zeros(2)
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) == 1:
        return np.repeat(distinct, 2)
    cuts = finite[(np.arange(bins) * len(finite)) // bins]
    heavy = np.flatnonzero(counts * bins >= len(finite))
    after = distinct[np.minimum(heavy + 1, len(distinct) - 1)]
    edges = np.unique(np.concatenate([cuts, distinct[heavy], after, distinct[[0, -1]]]))
    if len(heavy) and heavy[-1] == len(distinct) - 1:
        # The last bin is closed, so the greatest value stands alone only beneath an edge of its own.
        edges = np.append(edges, _next_float32(float(distinct[-1])))
    finite_edges: Floats = edges[np.isfinite(edges)]
    return finite_edges


def _next_float32(value: float) -> float:
    """Return the next number that a float32 feature can be; infinity after the greatest."""
    with np.errstate(over="ignore"):
        return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def histogram(values: Floats, edges: Floats) -> Histogram:
    """Count numbers in bins; NaN is missing, infinities are below or above."""
    missing = np.isnan(values)
    present = values[~missing]
    below, above = int((present < edges[0]).sum()), int((present > edges[-1]).sum())
    inside = present[(present >= edges[0]) & (present <= edges[-1])]
    bins = len(edges) - 1
    positions = np.minimum(np.searchsorted(edges, inside, side="right") - 1, bins - 1)
    counts = np.bincount(positions, minlength=bins)
    return Histogram(tuple(map(float, edges)), tuple(map(int, counts)), below, above, int(missing.sum()))


def most_frequent(values: NDArray[np.str_], limit: int) -> tuple[tuple[str, int], ...]:
    """Return the `limit` most frequent texts with their counts, the most frequent first, then in order of text."""
    distinct, counts = np.unique(values, return_counts=True)
    order = np.lexsort((distinct, -counts))[:limit]
    return tuple((str(distinct[index]), int(counts[index])) for index in order)
