import json
import logging
from pathlib import Path

import pytest

from modelyard.serving.cpu import thread_count
from modelyard.serving.logs import JsonFormatter
from modelyard.serving.metrics import SECONDS, Histogram, Metrics, outcome
from modelyard.serving.models import RunCost
from modelyard.serving.termination import MAX_BYTES, termination_message


@pytest.mark.parametrize(
    ("files", "available", "threads"),
    [
        ({}, 8, 1),
        ({"cpu.max": "max 100000\n"}, 8, 1),
        ({"cpu.max": "50000 100000\n"}, 8, 1),
        ({"cpu.max": "250000 100000\n"}, 8, 2),
        ({"cpu.max": "800000 100000\n"}, 4, 4),
        ({"cpu.max": "junk"}, 8, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8, 1),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 8, 3),
    ],
)
def test_threads_are_the_whole_cpus_of_the_limit(
    tmp_path: Path, files: dict[str, str], available: int, threads: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert thread_count(tmp_path, available=available) == threads


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, 0), (0.0005, 0), (0.00051, 1), (0.01, 4), (10, 13), (10.1, len(SECONDS))]
)
def test_histogram_counts_a_duration_in_the_first_bucket_that_holds_it(seconds: float, bucket: int) -> None:
    histogram = Histogram(SECONDS)
    histogram.add(seconds)
    assert histogram.counts.index(1) == bucket
    assert sum(histogram.counts) == 1
    assert histogram.sum == seconds


@pytest.mark.parametrize(
    ("status", "name"),
    [(200, "ok"), (400, "client_error"), (431, "client_error"), (500, "server_error"), (504, "server_error")],
)
def test_outcome_is_the_class_of_the_status(status: int, name: str) -> None:
    assert outcome(status) == name


def test_objective_is_a_bucket_of_the_durations() -> None:
    assert 0.03 in Metrics(0.03).durations["ok"].bounds
    assert list(Metrics(0.05).durations["ok"].bounds) == list(SECONDS)


def test_run_cost_grows_with_the_rows() -> None:
    cost = RunCost(one_row=1.0, each_further_row=0.5)
    assert [cost.of(rows) for rows in (0, 1, 2, 5)] == [1.0, 1.0, 1.5, 3.0]


@pytest.mark.parametrize("message", ["short", "ü" * 10_000, "\n" * 10_000])
def test_termination_message_fits_and_stays_json(message: str) -> None:
    encoded = termination_message("InvalidModel", message)
    content = json.loads(encoded)
    assert len(encoded) <= MAX_BYTES
    assert content["reason"] == "InvalidModel"
    assert message.startswith(content["message"])
    assert len(content["message"]) > 4 or message == "short"


def test_log_line_is_one_json_object_with_the_extras_and_the_error() -> None:
    record = logging.makeLogRecord({"msg": "hello %s", "args": ("you",), "levelname": "INFO", "port": 8080})
    record.exc_info = (ZeroDivisionError, ZeroDivisionError("nought"), None)
    line = JsonFormatter().format(record)
    content = json.loads(line)
    assert "\n" not in line
    assert (content["message"], content["port"], content["level"]) == ("hello you", 8080, "info")
    assert "ZeroDivisionError" in content["error"]
