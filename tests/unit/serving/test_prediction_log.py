import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.model import Datatype, InputTensor, Kind, OutputTensor, Signature, Task
from modelyard.serving import prediction_log
from modelyard.serving.errors import StartError
from modelyard.serving.prediction_id import new_prediction_id
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.prediction_records import ROWS_AT_ONCE, Prediction, RecordEncoder, event_time
from modelyard.serving.tensors import Column
from modelyard.storage.predictions import Segment, recover, segments
from tests.support.waiting import wait_until

IDENTITY = {"deployment": "delay", "model": "50%s", "version": "7", "track": "stable"}


def open_log(folder: Path, *, share: float = 1.0, columns: tuple[str, ...] = (), **more: Any) -> PredictionLog:
    return PredictionLog(folder, share, columns, IDENTITY, **more)


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32).reshape(-1, 1)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path, _ in segments(folder) for line in path.read_bytes().splitlines()]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set, the writing thread does nothing."""
    go = threading.Event()
    write = PredictionLog._write_until_closed

    def wait_and_write(self: PredictionLog) -> None:
        go.wait(20)
        write(self)

    monkeypatch.setattr(PredictionLog, "_write_until_closed", wait_and_write)
    yield go
    go.set()


def test_record_of_each_row_holds_what_was_asked_and_answered(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    inputs: dict[str, Column] = {
        "distance": floats(1.5, float("nan")),
        'odd "%s" name': np.array([["a%b"], ["é"]], dtype=object),
        "pair": np.array([[1, 2], [3, 4]], np.int64),
        "listed": [7, None],
        "words": ["a,b", "c"],
    }
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    log.add("id-%d", inputs, {"label": np.array([0, 1]), "probabilities": probabilities}, 2, 100)
    log.close()
    first, second = lines_of(tmp_path)
    assert second == IDENTITY | {
        "predictionId": "id-%d",
        "eventTime": second["eventTime"],
        "row": 1,
        "inputs": {"distance": None, 'odd "%s" name': "é", "pair": [3, 4], "listed": None, "words": "c"},
        "outputs": {"label": 1, "probabilities": [0.25, 0.75]},
    }
    assert (first["row"], first["inputs"]["words"], first["inputs"]["distance"]) == (0, "a,b", 1.5)
    assert log.records == {"written": 2, "dropped": 0, "lost": 0}


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("rows", [1, 3, ROWS_AT_ONCE, ROWS_AT_ONCE + 1])
def test_every_datatype_and_length_is_written_as_it_is(dtype: str, rows: int) -> None:
    values = (np.arange(rows) % 2).astype(dtype)
    wide = np.stack([values, values], axis=1)
    lines = RecordEncoder(IDENTITY).encode(Prediction("i", 0, {"a": values.reshape(-1, 1)}, {"b": wide}, rows))
    records = [json.loads(line) for text, _ in lines for line in text.splitlines()]
    assert [record["row"] for record in records] == list(range(rows))
    assert [record["inputs"]["a"] for record in records] == values.tolist()
    assert [record["outputs"]["b"] for record in records] == wide.tolist()


def test_event_time_has_milliseconds_and_says_utc() -> None:
    assert event_time(1_700_000_000_007_999_999) == "2023-11-14T22:13:20.007Z"


def test_only_chosen_columns_are_written(tmp_path: Path) -> None:
    log = open_log(tmp_path, columns=("b",))
    log.add("i", {"a": floats(1), "b": floats(2)}, {"c": floats(3)}, 1, 100)
    log.close()
    (record,) = lines_of(tmp_path)
    assert (record["inputs"], record["outputs"]) == ({"b": 2.0}, {"c": 3.0})


def test_column_that_is_no_input_is_refused(tmp_path: Path) -> None:
    tensor = InputTensor(name="a", datatype=Datatype.FP32, shape=(-1, 1), kind=Kind.NUMERIC)
    output = OutputTensor(name="b", datatype=Datatype.FP32, shape=(-1, 1))
    signature = Signature(task=Task.OTHER, inputs=(tensor,), outputs=(output,))
    log = open_log(tmp_path, columns=("a", "z"))
    with pytest.raises(StartError, match=r"MODELYARD_PREDICTION_LOG_COLUMNS.*'z'"):
        log.check(signature)
    log.close()


def test_sample_has_the_share_that_was_asked_for(tmp_path: Path) -> None:
    log = open_log(tmp_path, share=0.1, seed=1)
    assert sum(log.sampled() for _ in range(20_000)) == pytest.approx(2000, rel=0.1)
    log.close()
    everything = open_log(tmp_path / "all")
    assert all(everything.sampled() for _ in range(100))
    everything.close()


def test_segments_answer_for_every_number_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "SEGMENT_BYTES", 400)
    log = open_log(tmp_path)
    for value in range(9):
        log.add("i", {"a": floats(value, value)}, {}, 2, 100)
    log.close()
    ranges = sorted((segment.begin, segment.end) for _, segment in segments(tmp_path))
    assert len(ranges) > 3
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 18
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert len(lines_of(tmp_path)) == 18
    assert all(Segment.parse(path.name) for path in tmp_path.iterdir()), "nothing else is left"


def test_segment_is_finished_when_its_window_is_over(tmp_path: Path) -> None:
    log = open_log(tmp_path, window=0.0)
    log.add("i", {"a": floats(1)}, {}, 1, 100)
    wait_until(lambda: bool(segments(tmp_path)), seconds=10, what="a segment")
    assert len(lines_of(tmp_path)) == 1
    log.close()


def test_what_is_too_much_is_dropped_and_the_names_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: threading.Event
) -> None:
    monkeypatch.setattr(prediction_log, "HELD_BYTES", 100)
    log = open_log(tmp_path)
    for _ in range(30):
        log.add("id", {"a": floats(1)}, {}, 1, 6)
    assert log.records["dropped"] == 14
    stopped.set()
    log.close()
    ((_, segment),) = segments(tmp_path)
    assert (segment.begin, segment.end, len(lines_of(tmp_path))) == (0, 30, 16)


def test_full_spool_takes_no_more_until_the_courier_has_been(tmp_path: Path) -> None:
    log = open_log(tmp_path, window=0.0, spool_limit=100)
    log.add("i", {"a": floats(1)}, {}, 1, 100)
    wait_until(lambda: bool(segments(tmp_path)), seconds=10, what="a segment")
    log.add("i", {"a": floats(2)}, {}, 1, 100)
    wait_until(lambda: log.records["dropped"] == 1, seconds=10, what="the second to be dropped")
    for path, _ in segments(tmp_path):
        path.unlink()
    log.add("i", {"a": floats(3)}, {}, 1, 100)
    log.close()
    assert [record["inputs"]["a"] for record in lines_of(tmp_path)] == [3.0]
    assert log.records == {"written": 2, "dropped": 1, "lost": 0}
    ((_, segment),) = segments(tmp_path)
    assert (segment.begin, segment.end) == (1, 3)


def test_prediction_that_cannot_be_written_leaves_no_half_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "PREDICTION_BYTES", 20_000)
    log = open_log(tmp_path)
    log.add("i", {"a": floats(1)}, {}, 1, 100)
    log.add("i", {"a": floats(*range(300))}, {}, 300, 100)
    log.add("i", {"a": floats(2)}, {}, 1, 100)
    log.close()
    assert [record["inputs"]["a"] for record in lines_of(tmp_path)] == [1.0, 2.0]
    assert log.records == {"written": 2, "dropped": 300, "lost": 0}


_KILLED = """
import os, sys, time, numpy as np
from pathlib import Path
from modelyard.serving.prediction_log import PredictionLog
log = PredictionLog(Path(sys.argv[1]), 1.0, (), {"version": "7"})
for value in range(5):
    log.add("i", {"a": np.full((2, 1), value)}, {}, 2, 100)
while log.records["written"] < 10:
    time.sleep(0.01)
log._write_held = lambda: None
for value in range(3):
    log.add("i", {"a": np.full((1, 1), value)}, {}, 1, 100)
os.kill(os.getpid(), 9)
"""


def test_killed_writer_leaves_what_it_wrote_and_the_next_says_how_much_is_lost(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], env=environment, timeout=60, check=False)
    assert killed.returncode == -9
    log = open_log(tmp_path)
    assert log.records["lost"] == 3
    log.close()
    ((path, segment),) = segments(tmp_path)
    assert (segment.begin, segment.end) == (0, 13)
    assert path.read_bytes().count(b"\n") == 10
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    boot = "0123456789abcdef"
    (tmp_path / f"20261125T051500Z-v7-{boot}.part").write_bytes(b'{"a":1}\n{"a":')
    (tmp_path / f"{boot}.count").write_bytes((2).to_bytes(8, "little") + bytes(8))
    assert recover(tmp_path, "7") == 1
    ((path, segment),) = segments(tmp_path)
    assert path.read_bytes() == b'{"a":1}\n'
    assert (segment.begin, segment.end) == (0, 2)


def test_loss_without_a_line_is_told_by_an_empty_segment(tmp_path: Path) -> None:
    boot = "0123456789abcdef"
    (tmp_path / f"{boot}.count").write_bytes((9).to_bytes(8, "little") + (4).to_bytes(8, "little"))
    assert recover(tmp_path, "7") == 5
    ((path, segment),) = segments(tmp_path)
    assert (segment.begin, segment.end, path.read_bytes()) == (4, 9, b"")
    assert recover(tmp_path, "7") == 0


def test_prediction_ids_are_uuids_of_version_7_in_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    identifiers = []
    for milliseconds in (1, 0x1234_5678_9ABC, 0xFFFF_FFFF_FFFF):
        monkeypatch.setattr("time.time_ns", lambda ms=milliseconds: ms * 1_000_000)
        identifiers.append(new_prediction_id())
        parsed = uuid.UUID(identifiers[-1])
        assert (parsed.version, parsed.variant, parsed.int >> 80) == (7, uuid.RFC_4122, milliseconds)
    assert identifiers == sorted(identifiers)
    assert len({new_prediction_id() for _ in range(1000)}) == 1000


def test_segment_that_cannot_be_finished_is_counted_as_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        monkeypatch.undo()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(prediction_log, "SEGMENT_BYTES", 1)
    monkeypatch.setattr("os.fsync", fail)
    log = open_log(tmp_path)
    log.add("i", {"a": floats(1)}, {}, 1, 100)
    wait_until(lambda: log.records["dropped"] == 1, seconds=10, what="the first segment to fail")
    log.add("i", {"a": floats(2)}, {}, 1, 100)
    log.close()
    assert log.records == {"written": 1, "dropped": 1, "lost": 0}
    ((path, segment),) = segments(tmp_path)
    assert (segment.begin, segment.end, len(path.read_bytes().splitlines())) == (0, 2, 1)
    assert {file.suffix for file in tmp_path.iterdir()} == {".jsonl"}
