"""Rows of the tests of data checks."""

from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.validation.profile import InputProfile
from modelyard.validation.summary import TableSummary, Values


def summarise(table: Any, *, batch: int = 10_000, unique: tuple[str, ...] = (), untyped: bool = False) -> TableSummary:
    """Sum up a pyarrow.Table or a dict of lists, so many rows at a time."""
    table = pa.table(table) if isinstance(table, dict) else table
    summary = TableSummary("flights", unique=unique)
    summary.add(0, {field.name: Values(pa.array([], field.type), is_untyped=untyped) for field in table.schema})
    for part in table.to_batches(max_chunksize=batch):
        columns = {name: Values(part.column(name), is_untyped=untyped) for name in part.schema.names}
        summary.add(part.num_rows, columns)
    return summary


def profile(table: Any, **options: Any) -> InputProfile:
    return summarise(table, **options).profile()


def weather(rows: int, seed: int = 0) -> dict[str, Any]:
    """Weather at a station: columns of different scales and shapes, with missing values, texts and a constant."""
    random = np.random.default_rng(seed)
    temperature = random.normal(12, 9, rows)
    gusts = np.where(random.random(rows) < 0.7, np.nan, random.gamma(5, 5, rows))
    return {
        "temperature": np.round(temperature, 1),
        "dew": np.round(temperature - random.gamma(2, 3, rows), 1),
        "pressure": np.round(random.normal(1015, 8, rows), 1),
        "visibility": np.minimum(10.0, np.round(random.gamma(6, 2, rows), 1)),
        "gusts": pa.array(gusts, from_pandas=True),
        "wind": random.integers(0, 36, rows) * 10,
        "rain": random.random(rows) < 0.2,
        "station": random.choice(["EWR", "JFK", "LGA"], rows, p=[0.5, 0.3, 0.2]).tolist(),
        "observer": random.choice([f"person-{i}" for i in range(40)], rows, p=_falling(40)).tolist(),
        "source": ["ASOS"] * rows,
    }


def rotated(table: dict[str, Any], *names: str) -> dict[str, Any]:
    """Give each named column the values of the next one, and the last one those of the first."""
    return {**table, **{name: table[other] for name, other in zip(names, (*names[1:], names[0]), strict=True)}}


def _falling(count: int) -> Any:
    weights = 1 / np.arange(1, count + 1)
    return weights / weights.sum()
