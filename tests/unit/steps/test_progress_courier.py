import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.steps.metric_lines import parse_lines
from modelyard.steps.progress_courier import (
    MAX_LINE_BYTES,
    MAX_READ_BYTES,
    Account,
    ProgressCourier,
    ProgressSettings,
    Tail,
)
from modelyard.storage.errors import InvalidSource, OutputRefused
from tests.support.stores import MemoryStore

KEY = "runs/uid/train/1/progress.json"


def lines(*entries: Any) -> list[bytes]:
    return [json.dumps(entry).encode() for entry in entries]


def test_share_and_rate_give_what_is_left() -> None:
    account = Account()
    assert account.document() == {"metrics": []}
    account.add(lines({"progress": 0.2}), 100.0)
    assert account.document() == {"percentage": 20, "metrics": []}
    account.add(lines({"progress": 0.3}, {"progress": 0.4}), 110.0)
    assert account.document() == {"percentage": 40, "estimatedRemainingSeconds": 30, "metrics": []}


def test_progress_that_goes_back_has_no_estimate() -> None:
    account = Account()
    account.add(lines({"progress": 0.5}), 1.0)
    account.add(lines({"progress": 0.1}), 2.0)
    assert (account.percentage, account.remaining) == (10, None)


def test_first_sixteen_metrics_are_kept_each_with_its_last_value() -> None:
    account = Account()
    account.add(lines(*({"name": f"m{number}", "value": number} for number in range(20))), 1.0)
    account.add(lines({"name": "m0", "value": 7}, {"name": "m19", "value": 7}), 2.0)
    assert list(account.metrics) == [f"m{number}" for number in range(16)]
    assert account.metrics["m0"] == "7"


@given(st.lists(st.binary(max_size=200), max_size=20), st.floats(0, 1e9))
def test_document_stays_small_whatever_is_written(junk: list[bytes], now: float) -> None:
    account = Account()
    account.add(junk, now)
    account.add(lines({"progress": 1}), now)
    assert account.percentage == 100
    assert len(json.dumps(account.document()).encode()) <= 4096


@pytest.mark.parametrize(
    ("line", "share"),
    [
        (b'{"progress": 0}', 0.0),
        (b'{"progress": 1}', 1.0),
        (b'{"progress": 1.01}', None),
        (b'{"progress": -0.1}', None),
        (b'{"progress": true}', None),
        (b'{"progress": NaN}', None),
        (b'{"progress": "0.5"}', None),
        (b"[" * 100_000, None),
        (b"0.5", None),
    ],
)
def test_only_a_share_is_progress(line: bytes, share: float | None) -> None:
    assert parse_lines([line]).shares == ([] if share is None else [share])


def test_progress_is_no_malformed_metric() -> None:
    assert parse_lines(lines({"progress": 0.5}, {"name": "a", "value": 1}, {"progress": 2})) == ({"a": "1"}, [0.5], 1)


def test_lines_are_read_once_and_when_they_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    tail = Tail(file)
    assert tail.lines() == []
    file.write_bytes(b"one\ntw")
    assert tail.lines() == [b"one"]
    with file.open("ab") as more:
        more.write(b"o\n")
    assert tail.lines() == [b"two"]
    assert tail.lines() == []


def test_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    tail = Tail(file)
    file.write_bytes(b"one\ntwo\n")
    tail.lines()
    file.write_bytes(b"new\n")
    assert tail.lines() == [b"new"]
    other = tmp_path / "other"
    other.write_bytes(b"another file of more bytes\n")
    other.replace(file)
    assert tail.lines() == [b"another file of more bytes"]


def test_program_that_writes_faster_than_is_read_loses_all_but_the_end(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    tail = Tail(file)
    file.write_bytes(b"x" * 100 + b"\n")
    tail.lines()
    with file.open("ab") as more:
        more.write((b"y" * 99 + b"\n") * (2 * MAX_READ_BYTES // 100) + b"last\n")
    found = tail.lines()
    assert found[-1] == b"last"
    assert sum(map(len, found)) <= MAX_READ_BYTES


def test_line_without_an_end_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    tail = Tail(file)
    file.write_bytes(b"x" * (MAX_LINE_BYTES + 1))
    assert tail.lines() == []
    assert tail._rest == b""


def test_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/proc/self/environ")
    with pytest.raises(OutputRefused, match="link"):
        Tail(tmp_path / "metrics.jsonl").lines()


def test_progress_is_written_when_it_changed_and_not_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    file, store = tmp_path / "metrics.jsonl", MemoryStore()
    courier = ProgressCourier(ProgressSettings(file, "s3://b/", KEY), store)

    def say(share: float, at: float) -> int:
        clock[0] = at
        with file.open("a") as entries:
            entries.write(json.dumps({"progress": share}) + "\n")
        courier.deliver()
        return len(store.writes)

    courier.deliver()
    assert store.writes == []
    assert [say(0.1, 1000.0), say(0.2, 1001.0), say(0.3, 1004.9), say(0.4, 1005.0)] == [1, 1, 1, 2]
    said = json.loads(store.objects[KEY])
    assert (said["percentage"], said["estimatedRemainingSeconds"]) == (40, 10)
    clock[0] = 1100.0
    courier.deliver()
    assert store.writes == [KEY, KEY]


def test_variable_that_is_missing_or_wrong_is_named() -> None:
    good = {
        "MODELYARD_METRICS_FILE": "/m",
        "MODELYARD_STORE_URI": "s3://b/",
        "MODELYARD_RUN_UID": "uid",
        "MODELYARD_STEP": "train",
        "MODELYARD_ATTEMPT": "1",
    }
    assert ProgressSettings.read(good).key == KEY
    for name in good:
        with pytest.raises(InvalidSource, match=name):
            ProgressSettings.read({**good, name: ""})
    with pytest.raises(InvalidSource, match="MODELYARD_ATTEMPT"):
        ProgressSettings.read({**good, "MODELYARD_ATTEMPT": "../2"})
