"""Tensors of the Open Inference Protocol as numpy arrays."""

import struct
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np

from modelyard.model import Datatype

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Column: TypeAlias = Array | list[Any]
"""The values of an input: an array in its shape, or a flat list of checked values, to be joined with others."""

DTYPES: Final[Mapping[Datatype, np.dtype[Any]]] = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.UINT8: np.dtype("<u1"),
    Datatype.UINT16: np.dtype("<u2"),
    Datatype.UINT32: np.dtype("<u4"),
    Datatype.UINT64: np.dtype("<u8"),
    Datatype.INT8: np.dtype("<i1"),
    Datatype.INT16: np.dtype("<i2"),
    Datatype.INT32: np.dtype("<i4"),
    Datatype.INT64: np.dtype("<i8"),
    Datatype.FP16: np.dtype("<f2"),
    Datatype.FP32: np.dtype("<f4"),
    Datatype.FP64: np.dtype("<f8"),
    Datatype.BYTES: np.dtype(object),
}

BYTES_LENGTH: Final = struct.Struct("<I")
"""What goes before each element of datatype BYTES in binary data."""


def pack_elements(values: Iterable[bytes]) -> bytes:
    """Return elements of datatype BYTES as binary data."""
    return b"".join(chain.from_iterable((BYTES_LENGTH.pack(len(value)), value) for value in values))


def read_strings(data: memoryview, count: int) -> list[str]:
    """Read elements of datatype BYTES: each a length of 4 bytes and then that many bytes of UTF-8.

    Raises:
        ValueError: Something else is there.
    """
    strings: list[str] = []
    position, end, size = 0, len(data), BYTES_LENGTH.size
    while position + size <= end and len(strings) < count:
        begin = position + size
        position = begin + BYTES_LENGTH.unpack_from(data, position)[0]
        try:
            strings.append(str(data[begin:position], "utf-8"))
        except UnicodeDecodeError:
            raise ValueError(f"element {len(strings)} is not valid UTF-8") from None
    if len(strings) != count or position != end:
        raise ValueError(f"the binary data does not hold exactly {count} elements")
    return strings
