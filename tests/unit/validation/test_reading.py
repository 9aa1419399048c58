import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.validation.profile import InputProfile
from modelyard.validation.reading import RowsUnreadableError, read_batches
from modelyard.validation.summary import TableSummary

ROWS = [{"n": 1, "x": 1.5, "name": "ä"}, {"n": 2, "x": None, "name": "b"}]
CSV = "n,x,name\n1,1.5,ä\n2,NA,b\n"


def read(path: Path) -> InputProfile:
    summary = TableSummary("t")
    for batch in read_batches(path):
        summary.add(batch.rows, batch.columns)
    return summary.profile()


def write(folder: Path, name: str) -> Path:
    path = folder / name
    text = CSV if ".csv" in name.lower() else "".join(json.dumps(row) + "\n\n" for row in ROWS)
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz", "T.CSV", "t.json", "t.jsonl", "t.jsonl.gz"])
def test_each_format_says_the_same(tmp_path: Path, name: str) -> None:
    found = read(write(tmp_path, name))
    assert (found.rows, [c.missing for c in found.columns]) == (2, [0, 0, 1])
    assert found.schema_digest == read(write(tmp_path, "other.parquet")).schema_digest


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("t.parquet", "deep/t.csv", "t.jsonl"):
        write(tmp_path, name)
    (tmp_path / "_SUCCESS").write_text("")
    found = read(tmp_path)
    assert (found.rows, found.duplicate_rows) == (6, 4)


def test_columns_of_a_file_without_rows_are_known(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n")
    assert sorted(read(tmp_path).by_name) == ["a", "b"]


def test_bytes_before_the_first_name_are_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    assert sorted(read(tmp_path).by_name) == ["a", "b"]


def test_categories_of_a_parquet_file_are_texts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"c": pa.array(["a", "b", "a"]).dictionary_encode()}), tmp_path / "t.parquet")
    assert read(tmp_path).by_name["c"].distinct == 2


def test_lines_of_several_types_are_texts(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": "x"}\n{"b": true}\n')
    found = read(tmp_path).by_name
    assert (found["a"].type, found["a"].kinds, found["b"].missing) == ("Text", {"Integer": 1, "Text": 1}, 2)


BROKEN = {
    "no-utf8.csv": (b"a,b\n1,2\n3,\xff\n", "file 'no-utf8.csv': line 3, byte 3 is not UTF-8"),
    "no-utf8.jsonl": (b'{"a": 1}\n{"a": "\xff"}\n', "file 'no-utf8.jsonl': line 2, byte 8 is not UTF-8"),
    "ragged.csv": (b"a,b\n1,2\n3\n", "file 'ragged.csv': line 3 has 1 values, the first line names 2 columns"),
    "twice.csv": (b"a,a\n1,2\n", "file 'twice.csv': the column 'a' is there twice"),
    "empty.csv": (b"", "file 'empty.csv': the first line must name the columns"),
    "no-json.jsonl": (b'{"a": 1}\n{"a": \n', "file 'no-json.jsonl': line 2 is no JSON: "),
    "list.jsonl": (b"[1]\n", "file 'list.jsonl': line 1 must be a JSON object"),
    "no.parquet": (b"PAR1junkPAR1", "file 'no.parquet': "),
    "cut.csv.gz": (gzip.compress(CSV.encode() * 999)[:-60], "file 'cut.csv.gz': "),
    "t.xlsx": (b"", "file 't.xlsx' must end in .parquet, .csv, "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_file_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(content)
    with pytest.raises(RowsUnreadableError) as raised:
        read(tmp_path / "data")
    assert str(raised.value).startswith(message)


def test_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowsUnreadableError, match="must hold at least one file"):
        read(tmp_path)
