"""Summing up rows batch by batch, in memory that does not grow with them. Pure.

The result depends neither on the order of the rows nor on how they come in batches.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from modelyard.validation.profile import (
    NUMERIC,
    QUANTILE_STEPS,
    TOP_CATEGORIES,
    CategoryCount,
    ColumnProfile,
    InputProfile,
    Kind,
    schema_digest,
)
from modelyard.validation.sketches import Floats, HashSketch, NumberSketch, TextSketch

_CATEGORICAL: Final = frozenset({Kind.TEXT, Kind.BOOLEAN, Kind.INTEGER})
_TEXT_CHARACTERS: Final = 128
_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_INFINITY: Final = r"^(?i:[+-]?inf(inity)?)$"
_BOOLEAN: Final = r"^(?i:true|false)$"
_TIME: Final = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
)
_SECOND: Final = 1e6


@dataclass(frozen=True)
class Values:
    """A part of a column.

    Attributes:
        array: a pyarrow.Array.
        is_untyped: are these texts of a file without types, so that "3" is a number?
    """

    array: Any
    is_untyped: bool = False


class ColumnSummary:
    """What is in a column, so far."""

    def __init__(self, name: str, *, unique: bool = False) -> None:
        self.name = name
        self.kinds: Counter[Kind] = Counter()
        self.infinite = 0
        self.numbers = NumberSketch()
        self.times = NumberSketch()
        self.texts = TextSketch()
        self.hashes = HashSketch() if unique else None
        self._uncounted = 0

    @property
    def present(self) -> int:
        """How many values there are."""
        return self.kinds.total()

    @property
    def type(self) -> Kind | None:
        """The narrowest type of all values; None when there are none."""
        found = {kind for kind, count in self.kinds.items() if count}
        if not found:
            return None
        if len(found) == 1:
            return next(iter(found))
        return Kind.NUMBER if found <= NUMERIC else Kind.TEXT

    @property
    def has_categories(self) -> bool:
        """Is every value in `texts`? Numbers with a type of their own are not, unless it is one of integers."""
        return self._uncounted == 0

    def add(self, values: Values) -> None:
        """Add values; those that are missing do not count."""
        array = pc.drop_null(values.array)
        type_ = array.type
        if pa.types.is_boolean(type_):
            self._add_counted(pc.cast(array, pa.string()), Kind.BOOLEAN)
        elif _is_text(type_):
            texts = pc.cast(array, pa.string())
            self._add_untyped(texts) if values.is_untyped else self._add_counted(texts, Kind.TEXT)
        elif pa.types.is_integer(type_):
            self.numbers.add(_floats(array))
            self._add_counted(pc.cast(array, pa.string()), Kind.INTEGER)
        elif pa.types.is_floating(type_) or pa.types.is_decimal(type_):
            numbers = _floats(array)
            numbers = numbers[~np.isnan(numbers)]
            self._add_numbers(numbers, np.ones(len(numbers), np.int64))
            self._uncounted += len(numbers)
        elif pa.types.is_timestamp(type_) or pa.types.is_date(type_):
            self.times.add(_seconds(array))
            self.kinds[Kind.TIME] += len(array)
            self._uncounted += len(array)
        else:
            self.kinds[Kind.OTHER] += len(array)
            self._uncounted += len(array)

    def profile(self, rows: int) -> ColumnProfile:
        """Return what is in the column of a table with so many rows."""
        type_ = self.type
        sketch = self.times if type_ is Kind.TIME else self.numbers
        numbers: dict[str, Any] = {}
        if type_ in NUMERIC | {Kind.TIME} and sketch.count:
            numbers = {
                "minimum": sketch.minimum,
                "maximum": sketch.maximum,
                "mean": sketch.mean,
                "quantiles": sketch.quantiles(QUANTILE_STEPS),
            }
        categories: dict[str, Any] = {}
        if type_ in _CATEGORICAL and self.has_categories:
            top = self.texts.top(TOP_CATEGORIES)
            categories = {
                "distinct": self.texts.distinct,
                "categories": tuple(CategoryCount(value=value, count=count) for value, count in top),
                "categories_complete": self.texts.is_complete and self.texts.distinct <= TOP_CATEGORIES,
            }
        return ColumnProfile(
            name=self.name,
            type=type_,
            kinds={kind: self.kinds[kind] for kind in Kind if self.kinds[kind]},
            missing=rows - self.present,
            infinite=self.infinite,
            duplicates=self.hashes.repeated if self.hashes else None,
            **numbers,
            **categories,
        )

    def _add_counted(self, texts: Any, kind: Kind) -> None:
        distinct, counts = _value_counts(texts)
        self.kinds[kind] += int(counts.sum())
        self.texts.add([text[:_TEXT_CHARACTERS] for text in distinct.to_pylist()], counts.tolist())

    def _add_untyped(self, texts: Any) -> None:
        """Add texts of a file without types, each as what it looks like."""
        distinct, counts = _value_counts(texts)
        self.texts.add([text[:_TEXT_CHARACTERS] for text in distinct.to_pylist()], counts.tolist())
        is_number, is_infinite, is_boolean, is_time = (
            _matches(distinct, pattern) for pattern in (_NUMBER, _INFINITY, _BOOLEAN, _TIME)
        )
        self._add_numbers(np.array(distinct.filter(pa.array(is_number)).to_pylist(), np.float64), counts[is_number])
        infinite = int(counts[is_infinite].sum())
        self.infinite += infinite
        times = _parsed_times(distinct.filter(pa.array(is_time)))
        is_real = ~np.isnan(times)
        self.times.add(times[is_real], counts[is_time][is_real])
        real_times = int(counts[is_time][is_real].sum())
        known = is_number | is_infinite | is_boolean | is_time
        self.kinds.update(
            {
                Kind.NUMBER: infinite,
                Kind.BOOLEAN: int(counts[is_boolean].sum()),
                Kind.TIME: real_times,
                Kind.TEXT: int(counts[~known].sum() + counts[is_time].sum()) - real_times,
            }
        )

    def _add_numbers(self, numbers: Floats, counts: NDArray[np.int64]) -> None:
        is_finite = np.isfinite(numbers)
        finite, weights = numbers[is_finite], counts[is_finite]
        is_whole = finite == np.floor(finite)
        infinite = int(counts[~is_finite].sum())
        self.numbers.add(finite, weights)
        self.infinite += infinite
        self.kinds.update(
            {Kind.INTEGER: int(weights[is_whole].sum()), Kind.NUMBER: int(weights[~is_whole].sum()) + infinite}
        )


class TableSummary:
    """What is in the rows of an input, so far."""

    def __init__(self, name: str, *, unique: Collection[str] = ()) -> None:
        """Begin with no rows.

        Args:
            name: name of the input.
            unique: columns of which repeated values are counted.
        """
        self.name = name
        self.rows = 0
        self.columns: dict[str, ColumnSummary] = {}
        self._unique = frozenset(unique)
        self._row_hashes = HashSketch()

    def add(self, rows: int, columns: Mapping[str, Values]) -> None:
        """Add so many rows; a column that is not there has no values."""
        self.rows += rows
        hashes = np.zeros(rows, np.uint64)
        for name, values in columns.items():
            column = self.columns.setdefault(name, ColumnSummary(name, unique=name in self._unique))
            column.add(values)
            own = _hashes(name, values.array)
            hashes += own
            if column.hashes:
                column.hashes.add(own[own != 0])
        self._row_hashes.add(hashes)

    @property
    def duplicate_rows(self) -> int:
        """Rows that repeat another one."""
        return self._row_hashes.repeated

    def profile(self) -> InputProfile:
        """Return what is in the rows."""
        columns = tuple(self.columns[name].profile(self.rows) for name in sorted(self.columns))
        return InputProfile(
            name=self.name,
            rows=self.rows,
            duplicate_rows=self.duplicate_rows,
            schema_digest=schema_digest(columns),
            columns=columns,
        )


def _is_text(type_: Any) -> bool:
    return any(is_kind(type_) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _value_counts(texts: Any) -> tuple[Any, NDArray[np.int64]]:
    counted = pc.value_counts(texts)
    counts: NDArray[np.int64] = counted.field("counts").to_numpy(zero_copy_only=False).astype(np.int64)
    return counted.field("values"), counts


def _matches(texts: Any, pattern: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False).astype(bool)
    return found


def _floats(array: Any) -> Floats:
    values: Floats = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _seconds(array: Any) -> Floats:
    unit = pa.timestamp("us", tz=getattr(array.type, "tz", None))
    return _floats(pc.cast(pc.cast(array, unit, safe=False), pa.int64())) / _SECOND


def _parsed_times(texts: Any) -> Floats:
    """Return seconds since 1970 (UTC unless it says otherwise); NaN for what is no time, such as 30 February."""
    parsed = pd.to_datetime(pd.Series(texts.to_pylist(), dtype=object), format="ISO8601", utc=True, errors="coerce")
    times = parsed.to_numpy(dtype="datetime64[us]")
    seconds: Floats = np.where(np.isnat(times), np.nan, times.astype(np.int64) / _SECOND)
    return seconds


def _hashes(column: str, array: Any) -> NDArray[np.uint64]:
    """Return a hash of each value and the column's name, 0 where the value is missing."""
    texts = _as_texts(array)
    is_missing = pc.is_null(array, nan_is_null=True).to_numpy(zero_copy_only=False).astype(bool)
    values = texts.fill_null("").to_numpy(zero_copy_only=False).astype(object)
    hashes: NDArray[np.uint64] = pd.util.hash_array(values, categorize=False)
    mixed = (hashes ^ _salt(column)) * np.uint64(0x9E37_79B9_7F4A_7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed[is_missing] = 0
    return mixed


@lru_cache(maxsize=1024)
def _salt(column: str) -> NDArray[np.uint64]:
    salt: NDArray[np.uint64] = pd.util.hash_array(np.array([column], object), categorize=False)
    return salt


def _as_texts(array: Any) -> Any:
    if pa.types.is_timestamp(array.type):  # as a text it would need the zone's rules, which an image may lack
        array = pc.cast(array, pa.int64())
    try:
        return pc.cast(array, pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
