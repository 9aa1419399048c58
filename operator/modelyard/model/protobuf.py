"""A bounded reader of the protobuf wire format: just enough to walk messages without their schema's library."""

import mmap
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_MAX_VARINT_BYTES: Final = 10
_VALUES: Final = {
    VARINT: rb"[\x80-\xff]{0,9}[\x00-\x7f]",
    FIXED64: rb"[\x00-\xff]{8}",
    FIXED32: rb"[\x00-\xff]{4}",
}

Buffer = bytes | mmap.mmap


class MalformedMessage(ValueError):  # noqa: N818 - it says what it is
    """The bytes are no protobuf message, or exceed the reader's bounds."""


class Span(NamedTuple):
    """A length-delimited field: its number, and where its content is in the buffer."""

    number: int
    start: int
    end: int


@lru_cache(maxsize=256)
def _run_of(tag: bytes, wire: int) -> re.Pattern[bytes]:
    """Pattern of one scalar field and its repetitions: a tree ensemble has millions, too many for a loop here."""
    return re.compile(b"(?:" + re.escape(tag) + _VALUES[wire] + b")++")


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= end:
            break
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position + index + 1
    raise MalformedMessage(f"a number at byte {position} is cut off or too long")


def spans(data: Buffer, start: int, end: int) -> Iterator[Span]:
    """Yield the length-delimited fields of the message at data[start:end] and skip all others.

    Raises:
        MalformedMessage: a field is cut off, or has a wire type that no ONNX file uses.
    """
    position = start
    while position < end:
        tag_start = position
        tag, position = _varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise MalformedMessage(f"field number 0 at byte {tag_start}")
        if wire == LENGTH:
            size, position = _varint(data, position, end)
            if size > end - position:
                raise MalformedMessage(f"the field at byte {tag_start} is cut off")
            yield Span(number, position, position + size)
            position += size
        elif wire in _VALUES:
            run = _run_of(data[tag_start:position], wire).match(data, tag_start, end)
            if run is None:
                raise MalformedMessage(f"the field at byte {tag_start} is cut off")
            position = run.end()
        else:
            raise MalformedMessage(f"wire type {wire} at byte {tag_start} is not allowed")
