import json
import logging

from modelyard.controller.engine.logs import JsonFormatter, TextFormatter, bound


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": message, "args": args, "created": 0})
    vars(made).update(extra)
    return made


def test_json_has_one_object_a_line_with_bound_and_extra_fields() -> None:
    with bound(kind="Widget", name="one"), bound(name="two"):
        line = JsonFormatter().format(record("said %s", "so\nnow", delay=1.5))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "x",
        "message": "said so\nnow",
        "kind": "Widget",
        "name": "two",
        "delay": 1.5,
    }


def test_fields_are_unbound_again() -> None:
    with bound(kind="Widget"):
        pass
    assert "kind" not in json.loads(JsonFormatter().format(record("x")))


def test_json_carries_the_exception() -> None:
    error = ValueError("boom")
    line = JsonFormatter().format(record("failed", exc_info=(ValueError, error, None)))
    assert json.loads(line)["exception"] == "ValueError: boom"


def test_text_ends_with_the_fields() -> None:
    with bound(kind="Widget"):
        assert TextFormatter().format(record("done", seconds=2)).endswith("INFO    done kind=Widget seconds=2")
