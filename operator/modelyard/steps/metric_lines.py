"""Metrics that user code left as JSON lines. Pure."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

MAX_METRICS: Final = 1000
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,63}")
_DIGITS: Final = 15


def parse_metrics(lines: Iterable[bytes]) -> tuple[dict[str, str], int]:
    """Read `{"name", "value"}` lines; the last value of a name wins.

    Returns:
        Values as decimal strings by name, in order of first appearance, and how many lines were not understood:
        a slip in a metric must not cost the result of a long run.
    """
    metrics: dict[str, str] = {}
    refused = 0
    for line in lines:
        if not line.strip() or parse_progress(line) is not None:
            continue
        name, value = next(_read(line), ("", ""))
        if name and (name in metrics or len(metrics) < MAX_METRICS):
            metrics[name] = value
        else:
            refused += 1
    return metrics, refused


def parse_progress(line: bytes) -> float | None:
    """Return the share that a line `{"progress": 0.42}` says is done, None when it is no such line."""
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match entry:
        case {"progress": int() | float() as share} if not isinstance(share, bool) and 0 <= share <= 1:
            return float(share)
        case _:
            return None


def decimal_string(value: float) -> str | None:
    """Return a number as `-?digits[.digits]` with at most 15 digits each, None when it is not finite or too large."""
    if not math.isfinite(value) or abs(value) >= 10**_DIGITS:
        return None
    text = f"{Decimal(repr(value)):.{_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _read(line: bytes) -> Iterator[tuple[str, str]]:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        return
    match entry:
        case {"name": str(name), "value": int() | float() as value} if not isinstance(value, bool):
            text = decimal_string(value)
            if text is not None and _NAME.fullmatch(name):
                yield name, text
