import json
from typing import Any

import pytest

from modelyard.storage.tables import Table, read_table


def _commit(*actions: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(action).encode() for action in actions)


def _add(path: str, rows: int | None = None, **more: Any) -> dict[str, Any]:
    stats = {} if rows is None else {"stats": json.dumps({"numRecords": rows})}
    return {"add": {"path": path, "size": 1, **stats, **more}}


def _log(*commits: bytes, first: int = 0) -> dict[str, bytes]:
    return {f"_delta_log/{number:020d}.json": commit for number, commit in enumerate(commits, first)}


def _read(files: dict[str, bytes]) -> Table | None:
    return read_table(files, files.get)


VECTOR = {"storageType": "u", "pathOrInlineDv": "ab", "offset": 1, "cardinality": 4}
PROTOCOL = {"protocol": {"minReaderVersion": 1}}


@pytest.mark.parametrize(
    ("files", "table"),
    [
        (_log(_commit(PROTOCOL, _add("a", 10), _add("b", 5))), Table("0", 15)),
        (_log(_commit(_add("a", 10)), _commit({"remove": {"path": "a"}}, _add("b", 3))), Table("1", 3)),
        (_log(_commit(_add("a", 10)), _commit(_add("b", 3), {"remove": {"path": "a"}})), Table("1", 3)),
        (
            _log(_commit(_add("a", 10)), _commit({"remove": {"path": "a"}}, _add("a", 10, deletionVector=VECTOR))),
            Table("1", 6),
        ),
        (_log(_commit(_add("a", 10), _add("b"))), Table("0")),
        (_log(_commit(_add("a", 10)), b'{"add": '), Table("1")),
        (_log(_commit(_add("a", 10)), b""), Table("1")),
        (_log(_commit(_add("a", 10)), first=7), Table("7")),
        (
            {**_log(_commit(_add("a", 1)), first=12), "_delta_log/00000000000000000013.checkpoint.parquet": b""},
            Table("13"),
        ),
        ({"_delta_log/00000000000000000020.checkpoint.0000000001.0000000002.parquet": b""}, Table("20")),
        ({"_delta_log/00000000000000000000.crc": b"", "a.parquet": b""}, None),
    ],
)
def test_delta_table_has_the_version_of_its_log(files: dict[str, bytes], table: Table | None) -> None:
    assert _read(files) == table


def test_delta_table_whose_commit_is_too_large_to_be_read_has_no_rows() -> None:
    assert read_table(_log(b"", b""), lambda _: None) == Table("1")


def _metadata(current: Any = 3055729675574597004, **summary: str) -> bytes:
    snapshots = [{"snapshot-id": 1, "summary": {"total-records": "1"}}, {"snapshot-id": current, "summary": summary}]
    return json.dumps({"format-version": 2, "current-snapshot-id": current, "snapshots": snapshots}).encode()


NEW = _metadata(**{"total-records": "42"})
OLD = _metadata(7)
TABLE = Table("3055729675574597004", 42)


@pytest.mark.parametrize(
    ("files", "table"),
    [
        ({"metadata/00001-a.metadata.json": OLD, "metadata/00002-b.metadata.json": NEW}, TABLE),
        ({"metadata/v9.metadata.json": OLD, "metadata/v10.metadata.json": NEW}, TABLE),
        (
            {"metadata/v1.metadata.json": NEW, "metadata/v2.metadata.json": OLD, "metadata/version-hint.text": b"1\n"},
            TABLE,
        ),
        ({"metadata/v1.metadata.json": NEW, "metadata/version-hint.text": b"5"}, None),
        ({"metadata/00001-a.metadata.json": OLD, "metadata/00001-b.metadata.json": NEW}, None),
        (
            {"metadata/v1.metadata.json": _metadata(5, **{"total-records": "9", "total-position-deletes": "2"})},
            Table("5"),
        ),
        (
            {"metadata/v1.metadata.json": _metadata(5, **{"total-records": "9", "total-equality-deletes": "0"})},
            Table("5", 9),
        ),
        ({"metadata/v1.metadata.json": _metadata(5)}, Table("5")),
        ({"metadata/v1.metadata.json": json.dumps({"current-snapshot-id": None}).encode()}, None),
        ({"metadata/v1.metadata.json": b"["}, None),
        ({"data/a.parquet": b"", "metadata/notes.json": b"{}"}, None),
    ],
)
def test_iceberg_table_has_the_snapshot_of_its_newest_metadata(files: dict[str, bytes], table: Table | None) -> None:
    assert _read(files) == table
