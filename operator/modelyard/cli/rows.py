"""Reading rows from a file, in batches of columns: CSV with a header, JSON lines, or Parquet if there is pyarrow."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any


class RowsError(Exception):
    """The file cannot be read as rows; the text names the row, counted from 1 without the header."""


@dataclass(frozen=True)
class Batch:
    """Some rows after each other.

    Attributes:
        first_row: Number of the first one, from 1.
        columns: Values by the name of their column; texts where the file has no types.
    """

    first_row: int
    columns: Mapping[str, Sequence[object]]


def read_batches(file: Path, rows: int) -> Iterator[Batch]:
    """Yield the rows of a file, at most `rows` at a time; at least one batch, which may be without rows.

    Raises:
        RowsError: The file cannot be read, or a row is malformed.
    """
    readers = {".csv": _read_csv, ".json": _read_json_lines, ".jsonl": _read_json_lines, ".parquet": _read_parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise RowsError(f"{file}: must end in {', '.join(sorted(readers))}")
    try:
        yield from reader(file, rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RowsError(f"{file}: {error}") from None


def _read_csv(file: Path, size: int) -> Iterator[Batch]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, strict=True)
        header = next(reader, None)
        if not header:
            raise RowsError(f"{file}: the first line must name the columns")
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise RowsError(f"{file}: the column '{twice}' is there twice")
        first = 1
        while rows := list(islice(reader, size)):
            for number, row in enumerate(rows, first):
                if len(row) != len(header):
                    raise RowsError(f"{file}: row {number} has {len(row)} values, the header names {len(header)}")
            yield Batch(first, dict(zip(header, zip(*rows, strict=True), strict=True)))
            first += len(rows)
        if first == 1:
            yield Batch(1, dict.fromkeys(header, ()))


def _read_json_lines(file: Path, size: int) -> Iterator[Batch]:
    with file.open(encoding="utf-8") as stream:
        lines = (line for line in stream if not line.isspace())
        first, names = 1, None
        while rows := [_parse(file, number, line) for number, line in enumerate(islice(lines, size), first)]:
            names = names or list(rows[0])
            for number, row in enumerate(rows, first):
                missing = next((name for name in names if name not in row), None)
                if missing is not None:
                    raise RowsError(f"{file}: row {number} has no '{missing}', which the first row has")
            yield Batch(first, {name: [row[name] for row in rows] for name in names})
            first += len(rows)
        if names is None:
            raise RowsError(f"{file}: has no rows, so its columns are not known")


def _parse(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RowsError(f"{file}: row {number} is not valid JSON: {error}") from None
    if not isinstance(row, dict):
        raise RowsError(f"{file}: row {number} must be a JSON object (one to a line)")
    return row


def _read_parquet(file: Path, size: int) -> Iterator[Batch]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - large, and not everybody has Parquet
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise RowsError(f"{file}: reading Parquet needs pyarrow: pip install pyarrow") from None
    try:
        with parquet.ParquetFile(file) as opened:
            first = 1
            for part in opened.iter_batches(size):
                yield Batch(first, part.to_pydict())
                first += part.num_rows
            if first == 1:
                yield Batch(1, dict.fromkeys(opened.schema_arrow.names, ()))
    except pa.ArrowException as error:
        raise RowsError(f"{file}: {error}") from None
