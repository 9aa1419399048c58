"""`tabular/prepare@v1`: from raw tables to the features and labels of a training and a test set."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelyard.steps.tables import TableError, read_table
from modelyard.steps.tabular.parameters import Comparison, Join, Label, ParameterError, Preparation, Split

_ROW: Final = "\N{INVISIBLE SEPARATOR}row"
_ROW_GROUP: Final = 65_536
_COMPARE: Final = {
    Comparison.GREATER: pc.greater,
    Comparison.GREATER_OR_EQUAL: pc.greater_equal,
    Comparison.LESS: pc.less,
    Comparison.LESS_OR_EQUAL: pc.less_equal,
    Comparison.EQUAL: pc.equal,
    Comparison.NOT_EQUAL: pc.not_equal,
}


@dataclass(frozen=True)
class Prepared:
    """The training and the test set, and what was done on the way, in sentences."""

    train: Any
    test: Any
    notes: tuple[str, ...]


def main_input(names: tuple[str, ...], joins: tuple[Join, ...]) -> str:
    """Return the input whose rows are the examples: the one that is not joined.

    Raises:
        ParameterError: a joined input is absent, or not exactly one remains.
    """
    shown = ", ".join(names) or "none"
    for join in joins:
        if join.input not in names:
            raise ParameterError("join", f"must name inputs of the step ({shown})", join.input)
    remaining = [name for name in names if name not in {join.input for join in joins}]
    if len(remaining) != 1:
        raise ParameterError("join", f"must name all inputs of the step but one ({shown})", ", ".join(remaining))
    return remaining[0]


def prepare(inputs: Mapping[str, Path], parameters: Preparation, seed: int) -> Prepared:
    """Read, join, label, select and split.

    Args:
        inputs: folders by name.
        parameters: what to do.
        seed: of the random split.

    Raises:
        ParameterError: a parameter does not fit the data.
        TableError: the data cannot be used.
    """
    name = main_input(tuple(inputs), parameters.joins)
    table = read_table(inputs[name])
    notes = [f"{name}: {table.num_rows:,} rows, {table.num_columns} columns"]
    if parameters.deduplicate:
        table, dropped = _deduplicated(table)
        notes.append(f"{name}: {dropped:,} repeated rows dropped")
    for join in parameters.joins:
        table, matched = _joined(table, join, read_table(inputs[join.input]))
        notes.append(f"{join.input}: found for {matched:,} rows by {', '.join(join.keys)}")
    table = _labelled(table, parameters.label)
    complete = _without_missing(table, parameters)
    notes.append(
        f"label {parameters.label.name}: {table.num_rows - complete.num_rows:,} rows without it or a time dropped"
    )
    selected = _selected(complete, parameters)
    in_test, how = _split(complete, parameters, seed)
    train, test = selected.filter(pc.invert(in_test)), selected.filter(in_test)
    if not train.num_rows or not test.num_rows:
        raise TableError(f"the split leaves {train.num_rows} rows to train on and {test.num_rows} to test on ({how})")
    notes.append(f"{train.num_rows:,} rows to train on, {test.num_rows:,} to test on: {how}")
    return Prepared(train, test, tuple(notes))


def write(prepared: Prepared, folder: Path) -> None:
    """Write `train/train.parquet` and `test/test.parquet`; equal tables give equal bytes."""
    for name, table in (("train", prepared.train), ("test", prepared.test)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(table.combine_chunks(), folder / name / f"{name}.parquet", row_group_size=_ROW_GROUP)


def _deduplicated(table: Any) -> tuple[Any, int]:
    names = table.column_names
    numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
    try:
        first = numbered.group_by(names, use_threads=False).aggregate([(_ROW, "min")])
    except pa.ArrowException:
        raise ParameterError("deduplicate", "must be false for tables with nested columns", "true") from None
    if first.num_rows == table.num_rows:
        return table, 0
    kept = table.take(np.sort(first[f"{_ROW}_min"].to_numpy()))
    return kept, table.num_rows - kept.num_rows


def _joined(table: Any, join: Join, other: Any) -> tuple[Any, int]:
    for side, columns in (("the main input", table.column_names), (f"input '{join.input}'", other.column_names)):
        for key in join.keys:
            if key not in columns:
                raise ParameterError("join", f"must use columns of {side} ({_shown(columns)})", key)
    keys = list(join.keys)
    other = _with_key_types(other, table.schema, join)
    if other.group_by(keys).aggregate([]).num_rows < other.num_rows:
        raise TableError(f"input '{join.input}' must have each {', '.join(keys)} once, has some several times")
    taken = set(table.column_names)
    renamed = [name if name in keys or name not in taken else f"{join.input}_{name}" for name in other.column_names]
    if len(set(renamed) | taken) < len(renamed) + len(taken) - len(keys):
        raise TableError(f"input '{join.input}' has columns whose names, with '{join.input}_' before them, are taken")
    marked = other.rename_columns(renamed).append_column(f"{_ROW}s", pa.array(np.ones(other.num_rows, dtype=np.bool_)))
    numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
    joined = numbered.join(marked, keys=keys, join_type="left outer", use_threads=False).sort_by(_ROW)
    matched = joined.num_rows - joined[f"{_ROW}s"].null_count
    return joined.drop_columns([_ROW, f"{_ROW}s"]), matched


def _with_key_types(other: Any, schema: Any, join: Join) -> Any:
    for key in join.keys:
        wanted = schema.field(key).type
        try:
            other = other.set_column(other.column_names.index(key), key, other[key].cast(wanted))
        except pa.ArrowException:
            kind = other.schema.field(key).type
            raise TableError(f"input '{join.input}' must have the key '{key}' as {wanted}, has {kind}") from None
    return other


def _labelled(table: Any, label: Label) -> Any:
    if label.column not in table.column_names:
        raise ParameterError("label", f"must be a column ({_shown(table.column_names)})", label.column)
    if label.name != label.column and label.name in table.column_names:
        raise ParameterError("labelName", "must not be the name of another column", label.name)
    values = table[label.column]
    if label.comparison is not None:
        if not _is_number(values.type):
            raise ParameterError("label", f"must compare a column of numbers, '{label.column}' is {values.type}", "")
        values = _COMPARE[label.comparison](values, pa.scalar(label.number))
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int64())
    if label.name == label.column:
        return table.set_column(table.column_names.index(label.column), label.column, values)
    return table.append_column(label.name, values)


def _without_missing(table: Any, parameters: Preparation) -> Any:
    for column in (parameters.label.name, parameters.time_column):
        if not column:
            continue
        if column not in table.column_names:
            raise ParameterError("timeColumn", f"must be a column ({_shown(table.column_names)})", column)
        table = table.filter(pc.invert(pc.is_null(table[column], nan_is_null=True)))
    return table


def _selected(table: Any, parameters: Preparation) -> Any:
    label, time = parameters.label, parameters.time_column
    for name, named in (
        ("features", parameters.features),
        ("exclude", parameters.exclude),
        ("categorical", parameters.categorical),
    ):
        for column in named:
            if column not in table.column_names:
                raise ParameterError(name, f"must name columns ({_shown(table.column_names)})", column)
    for column in (label.column, label.name):
        if column in parameters.features:
            raise ParameterError("features", "must not contain what the label is made from", column)
    left_out = {label.column, label.name, time, *parameters.exclude}
    features = parameters.features or tuple(name for name in table.column_names if name not in left_out)
    if not features:
        raise ParameterError("exclude", "must leave at least one column", ", ".join(parameters.exclude))
    columns = {name: _feature(name, table[name], as_text=name in parameters.categorical) for name in features}
    columns[label.name] = table[label.name]
    if time and time not in columns:
        columns[time] = table[time]
    return pa.table(columns)


def _feature(name: str, values: Any, *, as_text: bool) -> Any:
    kind = values.type
    if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values, kind = values.cast(pa.string()), pa.string()
    if pa.types.is_null(kind):
        values, kind = values.cast(pa.float64()), pa.float64()
    if pa.types.is_decimal(kind):
        values, kind = values.cast(pa.float64()), pa.float64()
    if as_text and _is_number(kind):
        try:
            return values.cast(pa.int64()).cast(pa.string())
        except pa.ArrowInvalid:
            return values.cast(pa.string())
    if not (_is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)):
        raise ParameterError("features", f"must be numbers or texts, column '{name}' is {kind}; exclude it", name)
    return values


def _split(table: Any, parameters: Preparation, seed: int) -> tuple[Any, str]:
    """Return which rows are for the test, and how they were chosen."""
    if parameters.split is Split.RANDOM:
        order = np.random.default_rng(seed).permutation(table.num_rows)
        in_test = np.zeros(table.num_rows, dtype=np.bool_)
        in_test[order[: round(table.num_rows * parameters.test_fraction)]] = True
        return pa.array(in_test), f"{parameters.test_fraction:.0%} at random"
    times = _times(table[parameters.time_column], parameters.time_column)
    cut = _moment(parameters.train_until, times.type) if parameters.train_until else _quantile(times, parameters)
    return pc.greater_equal(times, cut), f"{parameters.time_column} before and from {cut.as_py()}"


def _quantile(times: Any, parameters: Preparation) -> Any:
    if not len(times):
        raise TableError("no rows with a label and a time")
    order = pc.sort_indices(times)
    return times[order[int(len(times) * (1 - parameters.test_fraction))].as_py()]


def _times(values: Any, name: str) -> Any:
    kind = values.type
    if pa.types.is_temporal(kind) or pa.types.is_integer(kind):
        return values
    for wanted in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            return values.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    raise ParameterError("timeColumn", f"must hold dates, times in ISO 8601 or whole numbers, is {kind}", name)


def _moment(text: str, kind: Any) -> Any:
    try:
        if pa.types.is_integer(kind):
            return pa.scalar(int(text), kind)
        moment = datetime.fromisoformat(text)
        if pa.types.is_date(kind):
            return pa.scalar(moment.date(), kind)
        if kind.tz is None:
            return pa.scalar(moment.replace(tzinfo=None), kind)
        return pa.scalar(moment if moment.tzinfo else moment.replace(tzinfo=UTC), kind)
    except (ValueError, AttributeError, pa.ArrowException):
        raise ParameterError("trainUntil", f"must be a time in ISO 8601 or fit the type {kind}", text) from None


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _shown(names: list[str]) -> str:
    return ", ".join(names[:40])
