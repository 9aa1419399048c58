"""Records of the prediction log as JSON lines (docs/contracts.md, "The prediction log"). Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson

from modelyard.serving.tensors import Array, Column

ROWS_AT_ONCE: Final = 256
"""Rows whose lines are made in one go: half a millisecond."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answered request.

    Attributes:
        time: Nanoseconds since the epoch.
        inputs: Arrays in their shape, or flat lists.
    """

    id: str
    time: int
    inputs: Mapping[str, Column]
    outputs: Mapping[str, Array]
    rows: int


class RecordEncoder:
    """Writes predictions, one line a row.

    Args:
        identity: Members that every record has.
    """

    def __init__(self, identity: Mapping[str, str]) -> None:
        self._identity = orjson.dumps(dict(identity))[1:-1]
        self._templates: dict[tuple[tuple[str, ...], tuple[str, ...]], bytes] = {}

    def encode(self, prediction: Prediction) -> Iterator[tuple[bytes, int]]:
        """Yield lines of at most ROWS_AT_ONCE rows, and how many they are."""
        template = self._template(tuple(prediction.inputs), tuple(prediction.outputs))
        head = b'{"predictionId":%b,"eventTime":"%b",%b,"row":%%d' % (
            orjson.dumps(prediction.id).replace(b"%", b"%%"),
            event_time(prediction.time).encode(),
            self._identity.replace(b"%", b"%%"),
        )
        columns = [*prediction.inputs.values(), *prediction.outputs.values()]
        for begin in range(0, prediction.rows, ROWS_AT_ONCE):
            end = min(begin + ROWS_AT_ONCE, prediction.rows)
            texts = [_texts(column, prediction.rows, begin, end) for column in columns]
            line = head + template
            rows = zip(range(begin, end), *texts, strict=True)
            yield b"".join([line % row for row in rows]), end - begin

    def _template(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> bytes:
        key = inputs, outputs
        template = self._templates.get(key)
        if template is None:
            members = [b",".join(orjson.dumps(name).replace(b"%", b"%%") + b":%b" for name in names) for names in key]
            template = self._templates[key] = b',"inputs":{%b},"outputs":{%b}}\n' % tuple(members)
        return template


def event_time(nanoseconds: int) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(nanoseconds // 1_000_000, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _texts(column: Column, rows: int, begin: int, end: int) -> Sequence[bytes]:
    """Return the JSON of each row: one value, or a flat list when a row has several."""
    if isinstance(column, list) or column.dtype == object:
        return _texts_of_list(column if isinstance(column, list) else column.ravel().tolist(), rows, begin, end)
    if rows == 1:
        text = orjson.dumps(column.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
        return [text[1:-1] if column.size == 1 else text]
    matrix = np.ascontiguousarray(column.reshape(rows, -1)[begin:end])
    if matrix.shape[1] == 1:
        return orjson.dumps(matrix.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    inner = orjson.dumps(matrix, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
    return [b"[%b]" % row for row in inner]


def _texts_of_list(values: Sequence[Any], rows: int, begin: int, end: int) -> Sequence[bytes]:
    width = len(values) // rows
    if width != 1:
        return [orjson.dumps(values[row * width : (row + 1) * width]) for row in range(begin, end)]
    if isinstance(values[0], str):
        return [orjson.dumps(value) for value in values[begin:end]]
    return orjson.dumps(values[begin:end])[1:-1].split(b",")
