"""Log records as JSON: constant messages, and what varies as fields, bound to the pass they belong to."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from typing_extensions import override

_context: ContextVar[Mapping[str, object]] = ContextVar("log_context", default=MappingProxyType({}))

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


@contextlib.contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Adds fields, such as kind, namespace, name, uid, generation and reconcile_id, to all records within."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, bound fields, `extra` fields, exception."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """The same for a terminal."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in fields_of(record).items())
        text = f"{self.formatTime(record)} {record.levelname:<7} {record.getMessage()} {fields}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The fields that are bound and those of `extra`, which win."""
    return {**_context.get(), **{key: value for key, value in vars(record).items() if key not in _STANDARD}}


def configure_logging(level: str, format_: str) -> None:
    """Sends all records of this process to standard error, those of Kopf from WARNING on.

    Args:
        level: the least severe level that is logged.
        format_: `json` or `text`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Kopf logs whole objects at DEBUG and each handled event at INFO.
    for name in ("kopf", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)
