"""Metrics that user code left as JSON lines. Pure."""

import json
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

MAX_METRICS: Final = 1000
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,63}")
_DIGITS: Final = 15


class Said(NamedTuple):
    """What lines say.

    Attributes:
        metrics: values as decimal strings by name, in order of first appearance; the last value of a name wins.
        shares: the shares that were said to be done, in order.
        refused: how many lines were not understood: a slip in a metric must not cost the result of a long run.
    """

    metrics: dict[str, str]
    shares: list[float]
    refused: int


def parse_lines(lines: Iterable[bytes]) -> Said:
    """Read `{"name", "value"}` and `{"progress"}` lines, each once."""
    metrics: dict[str, str] = {}
    shares: list[float] = []
    refused = 0
    for line in lines:
        if not line.strip():
            continue
        entry = _entry(line)
        share, metric = _share(entry), _metric(entry)
        if share is not None:
            shares.append(share)
        elif metric and (metric[0] in metrics or len(metrics) < MAX_METRICS):
            metrics[metric[0]] = metric[1]
        else:
            refused += 1
    return Said(metrics, shares, refused)


def decimal_string(value: float) -> str | None:
    """Return a number as `-?digits[.digits]` with at most 15 digits each, None when it is not finite or too large."""
    if not math.isfinite(value) or abs(value) >= 10**_DIGITS:
        return None
    text = f"{Decimal(repr(value)):.{_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _entry(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _share(entry: Any) -> float | None:
    match entry:
        case {"progress": int() | float() as share} if not isinstance(share, bool) and 0 <= share <= 1:
            return float(share)
        case _:
            return None


def _metric(entry: Any) -> tuple[str, str] | None:
    match entry:
        case {"name": str(name), "value": int() | float() as value} if not isinstance(value, bool):
            text = decimal_string(value)
            return (name, text) if text is not None and _NAME.fullmatch(name) else None
        case _:
            return None
