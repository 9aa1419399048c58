"""How many rows a Parquet file has, by its footer alone: a Thrift structure in the compact protocol. Pure."""

from enum import IntEnum
from typing import Final

FOOTER_BYTES: Final = 1024 * 1024
"""How much of a file's end is kept to find its footer; the rows of files with a larger footer are not counted."""

_TRAILER_BYTES: Final = 8  # length of the footer, magic number
_MAGIC: Final = b"PAR1"
_NUM_ROWS: Final = 3
_MAX_DEPTH: Final = 16
_MAX_VARINT_BITS: Final = 70


class _Type(IntEnum):
    """Types of values."""

    STOP = 0
    TRUE = 1
    FALSE = 2
    BYTE = 3
    I16 = 4
    I32 = 5
    I64 = 6
    DOUBLE = 7
    BINARY = 8
    LIST = 9
    SET = 10
    MAP = 11
    STRUCT = 12


class Tail:
    """Keeps the end of what is written to it."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._kept = bytearray()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        self._kept += chunk
        if len(self._kept) > 2 * FOOTER_BYTES:
            del self._kept[:-FOOTER_BYTES]

    def rows(self) -> int | None:
        """Return the number of rows of the file that ended here."""
        return count_rows(bytes(self._kept))


def count_rows(tail: bytes) -> int | None:
    """Return the number of rows of a file by its last bytes; None when they are no Parquet footer, or a part of one."""
    if tail[-4:] != _MAGIC or len(tail) < _TRAILER_BYTES:
        return None
    length = int.from_bytes(tail[-_TRAILER_BYTES:-4], "little")
    if not 0 < length <= len(tail) - _TRAILER_BYTES:
        return None
    try:
        rows = _Compact(tail[-_TRAILER_BYTES - length : -_TRAILER_BYTES]).integer_field(_NUM_ROWS)
    except (IndexError, ValueError):
        return None
    return rows if rows is not None and rows >= 0 else None


class _Compact:
    """Reads one structure. Raises IndexError or ValueError where the bytes are none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer_field(self, wanted: int) -> int | None:
        field = 0
        while (header := self._byte()) != _Type.STOP:
            delta, kind = header >> 4, header & 15
            field = field + delta if delta else self._zigzag()
            if field == wanted:
                return self._zigzag() if kind in (_Type.I16, _Type.I32, _Type.I64) else None
            self._skip(kind, 0)
        return None

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > _MAX_VARINT_BITS:
                raise ValueError("number is too long")
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")
        match kind:
            case _Type.TRUE | _Type.FALSE:  # the value of a field's boolean is its type
                pass
            case _Type.BYTE:
                self._at += 1
            case _Type.I16 | _Type.I32 | _Type.I64:
                self._varint()
            case _Type.DOUBLE:
                self._at += 8
            case _Type.BINARY:
                length = self._varint()
                self._at += length
            case _Type.LIST | _Type.SET:
                self._skip_list(depth)
            case _Type.MAP:
                self._skip_map(depth)
            case _Type.STRUCT:
                self._skip_struct(depth)
            case _:
                raise ValueError("unknown type")

    def _skip_list(self, depth: int) -> None:
        header = self._byte()
        size, kind = header >> 4, header & 15
        self._skip_items((kind,), self._varint() if size == 15 else size, depth)  # noqa: PLR2004 - "the size follows"

    def _skip_map(self, depth: int) -> None:
        size = self._varint()
        if size:
            kinds = self._byte()
            self._skip_items((kinds >> 4, kinds & 15), size, depth)

    def _skip_items(self, kinds: tuple[int, ...], size: int, depth: int) -> None:
        if size > len(self._data):
            raise ValueError("more items than bytes")
        for _ in range(size):
            for kind in kinds:
                self._skip(_Type.BYTE if kind in (_Type.TRUE, _Type.FALSE) else kind, depth + 1)

    def _skip_struct(self, depth: int) -> None:
        while (header := self._byte()) != _Type.STOP:
            if not header >> 4:
                self._zigzag()
            self._skip(header & 15, depth + 1)
