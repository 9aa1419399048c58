import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from modelyard.cli.rows import RowsError, read_batches

COLUMNS: dict[str, list[Any]] = {"a": [1, 2, 3, 4, 5], "b": ["v", "w", "x", "ü,", ""]}


def write_csv(file: Path) -> None:
    lines = [f'{a},"{b}"' for a, b in zip(*COLUMNS.values(), strict=True)]
    file.write_text("\n".join(["\ufeffa,b", *lines]) + "\n", encoding="utf-8")


def write_json(file: Path) -> None:
    rows = [json.dumps({"a": a, "b": b}) for a, b in zip(*COLUMNS.values(), strict=True)]
    file.write_text("\n\n".join(rows))


def write_parquet(file: Path) -> None:
    parquet.write_table(pa.table(COLUMNS), file)


WRITERS: Mapping[str, Callable[[Path], None]] = {
    "rows.csv": write_csv,
    "rows.CSV": write_csv,
    "rows.json": write_json,
    "rows.jsonl": write_json,
    "rows.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_all_rows_are_read_in_order_and_in_batches_of_bounded_size(tmp_path: Path, name: str, size: int) -> None:
    WRITERS[name](tmp_path / name)
    batches = list(read_batches(tmp_path / name, size))
    assert [batch.first_row for batch in batches] == list(range(1, 6, size))
    assert all(len(column) <= size for batch in batches for column in batch.columns.values())
    found = {name: [str(value) for batch in batches for value in batch.columns[name]] for name in ("a", "b")}
    assert found == {name: [str(value) for value in values] for name, values in COLUMNS.items()}


def test_file_with_columns_and_without_rows_is_one_empty_batch(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n")
    parquet.write_table(
        pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())}), tmp_path / "r.parquet"
    )
    for name in ("rows.csv", "r.parquet"):
        (batch,) = read_batches(tmp_path / name, 10)
        assert {column: list(values) for column, values in batch.columns.items()} == {"a": [], "b": []}


WRONG = {
    "no such format": ("rows.txt", b"", "must end in .csv, .json, .jsonl, .parquet"),
    "no columns": ("rows.csv", b"", "the first line must name the columns"),
    "column twice": ("rows.csv", b"a,b,a\n", "the column 'a' is there twice"),
    "too few values": ("rows.csv", b"a,b\n1,2\n3\n", "row 2 has 1 values, the header names 2"),
    "open quote": ("rows.csv", b'a,b\n1,"2\n', "unexpected end of data"),
    "no UTF-8": ("rows.csv", b"a\n\xff\n", "codec can't decode"),
    "no JSON": ("rows.json", b'{"a": 1}\n{"a": \n', "row 2 is not valid JSON"),
    "a JSON array": ("rows.json", b'[{"a": 1}]', "row 1 must be a JSON object"),
    "other keys": ("rows.json", b'{"a": 1}\n{"b": 1}\n', "row 2 has no 'a'"),
    "no JSON at all": ("rows.json", b"\n", "has no rows"),
    "no Parquet": ("rows.parquet", b"PAR", "rows.parquet: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_malformed_file_is_refused_with_the_row(tmp_path: Path, case: str) -> None:
    name, content, message = WRONG[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RowsError, match=message):
        list(read_batches(tmp_path / name, 1000))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match="No such file"):
        list(read_batches(tmp_path / "rows.csv", 10))
