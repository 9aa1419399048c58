import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.steps.tables import TableError, read_table


def test_files_of_both_kinds_become_one_table(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.csv").write_text("x,name\n1,NA\n2,b\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"x,name\n2.5,c\n"))
    pq.write_table(pa.table({"x": [4], "more": ["d"]}), tmp_path / "c.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    table = read_table(tmp_path).to_pydict()
    assert table == {"x": [1, 2, 2.5, 4], "name": [None, "b", "c", None], "more": [None, None, None, "d"]}


def test_types_are_told_from_the_whole_file(tmp_path: Path) -> None:
    lines = ["x,y", *["NA,1"] * 700_000, "1.5,text"]
    (tmp_path / "late.csv").write_text("\n".join(lines))
    table = read_table(tmp_path)
    assert (table["x"][-1].as_py(), table["y"][0].as_py(), table["y"][-1].as_py()) == (1.5, "1", "text")


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    pq.write_table(pa.table({"x": [4], "z": [5]}), tmp_path / "b.parquet")
    assert read_table(tmp_path, ("x", "absent")).column_names == ["x"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "must hold at least one file that ends in .parquet, .csv, .csv.gz"),
        ({"notes.txt": "x"}, "notes.txt: must end in .parquet, .csv, .csv.gz"),
        ({"a.parquet": "no"}, "a.parquet: "),
        ({"a.csv": "x,y\n1\n"}, "a.csv: "),
        ({"a.csv": "x\n1\n", "b.csv": "x\nhello\n"}, "columns must have one type in all files"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(TableError) as caught:
        read_table(tmp_path)
    assert message in str(caught.value)
