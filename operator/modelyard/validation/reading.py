"""Rows of Parquet, CSV and JSON lines files, batch by batch: memory does not grow with the data."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from modelyard.validation.summary import Values

MISSING_TEXTS: Final = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Texts that mean a missing value in a CSV file."""
SUFFIXES: Final = (".parquet", ".csv", ".csv.gz", ".json", ".jsonl", ".jsonl.gz")

_BATCH_ROWS: Final = 32_768
_BLOCK_BYTES: Final = 4 * 1024 * 1024
_MAX_LINE_BYTES: Final = 16 * 1024 * 1024


class RowsUnreadableError(ValueError):
    """Rows cannot be read; the message names the file and, where it is known, the line."""


@dataclass(frozen=True)
class Batch:
    """Some rows of one file.

    Attributes:
        rows: how many.
        columns: values by the name of their column.
    """

    rows: int
    columns: Mapping[str, Values]


def row_files(path: Path) -> tuple[Path, ...]:
    """Return the files with rows at any depth, sorted by path, or the file that is given.

    Names that begin with '.' or '_' do not count.

    Raises:
        RowsUnreadableError: there is none, or there is a file of another kind.
    """
    files = (path,) if path.is_file() else tuple(sorted(file for file in path.rglob("*") if _counts(file)))
    allowed = ", ".join(SUFFIXES)
    for file in files:
        if not file.name.lower().endswith(SUFFIXES):
            raise RowsUnreadableError(f"file '{file.name}' must end in {allowed}")
    if not files:
        raise RowsUnreadableError(f"'{path.name}' must hold at least one file that ends in {allowed}")
    return files


def read_batches(path: Path) -> Iterator[Batch]:
    """Yield the rows of a file, or of all files of a folder.

    Raises:
        RowsUnreadableError: a file cannot be read.
    """
    for file in row_files(path):
        name = file.relative_to(path).as_posix() if file != path else file.name
        try:
            yield from _reader(file)
        except RowsUnreadableError as error:
            raise RowsUnreadableError(f"file '{name}': {error}") from None
        except (pa.ArrowException, OSError, EOFError, csv.Error) as error:
            raise RowsUnreadableError(f"file '{name}': {_first_line(error)}") from None


def _counts(file: Path) -> bool:
    return file.is_file() and not file.name.startswith((".", "_"))


def _reader(file: Path) -> Iterator[Batch]:
    name = file.name.lower()
    if name.endswith(".parquet"):
        return _read_parquet(file)
    return _read_csv(file) if name.endswith((".csv", ".csv.gz")) else _read_json_lines(file)


def _read_parquet(file: Path) -> Iterator[Batch]:
    with pq.ParquetFile(file) as opened:
        names = opened.schema_arrow.names
        _refuse_twice(names)
        yield Batch(0, {name: Values(pa.array([], opened.schema_arrow.field(name).type)) for name in names})
        for part in opened.iter_batches(_BATCH_ROWS):
            yield Batch(part.num_rows, {name: Values(_plain(part.column(name))) for name in names})


def _read_csv(file: Path) -> Iterator[Batch]:
    names = _header(file)
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=MISSING_TEXTS, strings_can_be_null=True
    )
    try:
        with closing(_open_csv(file, options)) as reader:
            yield Batch(0, {name: Values(pa.array([], pa.string()), is_untyped=True) for name in names})
            for part in reader:
                yield Batch(
                    part.num_rows, {name: Values(part.column(name), is_untyped=True) for name in part.schema.names}
                )
    except pa.ArrowInvalid as error:
        raise RowsUnreadableError(_what_is_wrong(file, len(names)) or _first_line(error)) from None


def _open_csv(file: Path, options: Any) -> Any:
    read = pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES)
    return pyarrow.csv.open_csv(pa.input_stream(str(file)), read_options=read, convert_options=options)


def _header(file: Path) -> list[str]:
    with _lines(file) as lines:
        first = next(csv.reader(_decoded(lines)), None)
    if not first:
        raise RowsUnreadableError("the first line must name the columns")
    first[0] = first[0].removeprefix("\ufeff")
    _refuse_twice(first)
    return first


def _what_is_wrong(file: Path, width: int) -> str | None:
    """Return the first line that is no row of a CSV file, and why."""
    with _lines(file) as lines:
        reader = csv.reader(_decoded(lines))
        try:
            for row in reader:
                if row and len(row) != width:
                    return f"line {reader.line_num} has {len(row)} values, the first line names {width} columns"
        except csv.Error as error:
            return f"line {reader.line_num}: {error}"
    return None


def _read_json_lines(file: Path) -> Iterator[Batch]:
    with _lines(file) as lines:
        numbered = ((number, line) for number, line in enumerate(_decoded(lines), 1) if not line.isspace())
        while part := [_object(number, line) for number, line in islice(numbered, _BATCH_ROWS)]:
            names = dict.fromkeys(name for row in part for name in row)
            yield Batch(len(part), {name: _column([row.get(name) for row in part]) for name in names})


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowsUnreadableError(f"line {number} is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise RowsUnreadableError(f"line {number} must be a JSON object")
    return row


def _column(values: list[Any]) -> Values:
    """Return values with their own type, or as texts where they are of several."""
    try:
        return Values(pa.array(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        texts = [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
        return Values(pa.array(texts, pa.string()), is_untyped=True)


def _lines(file: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file)) if file.name.lower().endswith(".gz") else file.open("rb")


def _decoded(lines: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: lines.readline(_MAX_LINE_BYTES), b""), 1):
        if len(line) == _MAX_LINE_BYTES:
            raise RowsUnreadableError(f"line {number} is longer than {_MAX_LINE_BYTES} bytes")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise RowsUnreadableError(f"line {number}, byte {error.start + 1} is not UTF-8") from None


def _refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RowsUnreadableError(f"the column '{name}' is there twice")
        seen.add(name)


def _plain(array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
