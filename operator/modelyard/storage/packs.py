"""How large the objects of a git pack will be in memory, told before any is unpacked: few bytes may be many. Pure."""

import zlib
from dataclasses import dataclass
from typing import Final

_SLICE_BYTES: Final = 8192
_OUTPUT_BYTES: Final = 64 * 1024
_MAX_VARINT_BITS: Final = 63
_HEADER_BYTES: Final = 12
_TRAILER_BYTES: Final = 20
_OFS_DELTA: Final = 6
_REF_DELTA: Final = 7
_DELTA_HEAD_BYTES: Final = 20
"""Enough for the two numbers that a delta begins with: sizes before and after."""


@dataclass(frozen=True)
class PackLimits:
    """The most that a pack may hold."""

    objects: int
    object_bytes: int


class PackTooLarge(ValueError):  # noqa: N818 - says what is the matter
    """A pack holds more than its limits allow; the message says what."""


def check_pack(data: bytes | memoryview, limits: PackLimits) -> None:
    """Check a whole pack in constant memory.

    Raises:
        PackTooLarge: it holds more than the limits allow.
        ValueError: it is no pack.
    """
    if bytes(data[:4]) != b"PACK" or len(data) < _HEADER_BYTES + _TRAILER_BYTES:
        raise ValueError("is no pack")
    count = int.from_bytes(data[8:_HEADER_BYTES], "big")
    if count > limits.objects:
        raise PackTooLarge(f"has {count} objects, at most {limits.objects} are read")
    scan = _Scan(data, _HEADER_BYTES)
    try:
        for _ in range(count):
            largest = scan.next_object(limits.object_bytes)
            if largest > limits.object_bytes:
                raise PackTooLarge(f"has a file of {largest} bytes, at most {limits.object_bytes} are read")
    except (IndexError, zlib.error):
        raise ValueError("is no pack") from None


class _Scan:
    def __init__(self, data: bytes | memoryview, start: int) -> None:
        self._data = data
        self._at = start

    def next_object(self, limit: int) -> int:
        """Step over one object; return the size that it, or what its delta makes, will have."""
        first = self._byte()
        kind, size, shift = first >> 4 & 7, first & 15, 4
        byte = first
        while byte & 0x80:
            byte = self._byte()
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > _MAX_VARINT_BITS:
                raise ValueError("size is too long")
        if size > limit:
            return size
        if kind == _OFS_DELTA:
            while self._byte() & 0x80:
                pass
        elif kind == _REF_DELTA:
            self._at += 20
        head = self._inflate(size)
        return _delta_result(head) if kind in (_OFS_DELTA, _REF_DELTA) else size

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _inflate(self, size: int) -> bytes:
        """Step over compressed bytes, which must make `size` bytes; return the first of these."""
        inflater, made, head = zlib.decompressobj(), 0, b""
        while not inflater.eof:
            piece = inflater.unconsumed_tail or bytes(self._data[self._at : self._at + _SLICE_BYTES])
            if not inflater.unconsumed_tail:
                self._at += len(piece)
            out = inflater.decompress(piece, _OUTPUT_BYTES)
            made += len(out)
            head = head or out[:_DELTA_HEAD_BYTES]
            if made > size or (not piece and not inflater.eof):
                raise ValueError("size is not what was announced")
        self._at -= len(inflater.unused_data)
        if made != size:
            raise ValueError("size is not what was announced")
        return head


def _delta_result(head: bytes) -> int:
    scan = _Scan(head, 0)
    sizes = []
    for _ in range(2):
        size = shift = 0
        while True:
            byte = scan._byte()  # noqa: SLF001 - its own module's
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > _MAX_VARINT_BITS:
                raise ValueError("size is too long")
            if not byte & 0x80:
                break
        sizes.append(size)
    return sizes[1]
