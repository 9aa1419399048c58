"""The common forms of a request, read fast: JSON with flat data of the right types, or all of it binary.

What is out of the ordinary is left to the careful decoder, which knows the whole protocol and names what is wrong.
A request that is read here is one that the careful decoder would read the same way.
"""

import math
from collections.abc import Mapping, Sized
from types import NoneType
from typing import Any, Final

import numpy as np
import simdjson

from modelyard.model import Datatype, InputTensor, Signature
from modelyard.serving.tensors import DTYPES, Column, read_strings

_ENTRY_KEYS: Final = 4
_INTEGER: Final = frozenset({int})
"""As the types of sizes: True and 1.0 are equal to 1."""
_LARGE_BODY: Final = 1500
"""Bytes from which numbers are worth reading without making Python objects of them."""
_NUMBERS: Final = {Datatype.FP32: "d", Datatype.FP64: "d", Datatype.INT64: "i"}


def json_types(tensor: InputTensor) -> frozenset[type]:
    """Return the types that an input's values may have in JSON."""
    if tensor.datatype is Datatype.BYTES:
        return frozenset({str})
    if tensor.datatype is Datatype.BOOL:
        return frozenset({bool})
    if tensor.datatype.is_integer:
        return frozenset({int})
    return frozenset({int, float, NoneType} if tensor.nullable else {int, float})


class _Expected:
    """What the entry of one input has to look like."""

    __slots__ = ("datatype", "dtype", "inner", "is_float", "limits", "number", "types", "width")

    def __init__(self, tensor: InputTensor) -> None:
        self.datatype = str(tensor.datatype)
        self.inner = list(tensor.shape[1:])
        self.width = math.prod(self.inner)
        self.types = json_types(tensor)
        self.number = _NUMBERS.get(tensor.datatype)
        self.dtype = DTYPES[tensor.datatype]
        self.is_float = tensor.datatype.is_float
        self.limits = np.iinfo(self.dtype) if tensor.datatype.is_integer else None

    def from_bytes(self, data: memoryview, rows: int) -> Column | None:
        """Return the values in binary data, None when there is anything to say about them."""
        if self.dtype.hasobject:
            return read_strings(data, rows * self.width)
        array = np.frombuffer(data, self.dtype)
        if len(array) != rows * self.width or self.dtype == np.bool_:
            return None
        if self.is_float and not math.isfinite(np.add.reduce(array, dtype=np.float64)):
            return None
        return (array if array.flags.aligned else array.copy()).reshape(rows, *self.inner)


class PlainReader:
    """Reads requests of the common form for one model; not thread-safe."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._expected = {tensor.name: _Expected(tensor) for tensor in signature.inputs}
        self._max_rows = max_rows
        self._takes_part = all(tensor.shape[0] == -1 and -1 not in tensor.shape[1:] for tensor in signature.inputs)
        self._all_numbers = self._takes_part and all(expected.number for expected in self._expected.values())
        self._parser = simdjson.Parser()

    def read(self, document: Mapping[str, Any]) -> tuple[dict[str, Column], int] | None:
        """Return the inputs and the number of rows of a parsed body, None when it is not of the common form."""
        if not self._takes_part or "outputs" in document or "parameters" in document:
            return None
        try:
            return self._read(document["inputs"])
        except (AttributeError, LookupError, TypeError):
            return None

    def _read(self, entries: list[dict[str, Any]]) -> tuple[dict[str, Column], int] | None:
        columns: dict[str, Column] = {}
        rows = -1
        for entry in entries:
            name, shape, data = entry["name"], entry["shape"], entry["data"]
            expected = self._expected[name]
            count = shape[0]
            if rows != count and rows >= 0:
                return None
            rows = count
            if (
                len(entry) != _ENTRY_KEYS
                or entry["datatype"] != expected.datatype
                or not _INTEGER.issuperset(map(type, shape))
                or shape[1:] != expected.inner
                or type(data) is not list
                or len(data) != count * expected.width
                or not expected.types.issuperset(map(type, data))
            ):
                return None
            limits = expected.limits
            if limits is not None and data and not (limits.min <= min(data) and max(data) <= limits.max):
                return None
            columns[name] = data
        return (columns, rows) if self._all_there(columns, entries, rows) else None

    def _all_there(self, columns: Sized, entries: Sized, rows: int) -> bool:
        """Whether every input is there once, with rows that are allowed."""
        return len(columns) == len(self._expected) == len(entries) and rows <= self._max_rows

    def read_binary(self, document: Mapping[str, Any], data: memoryview) -> tuple[dict[str, Column], int] | None:
        """Return the inputs and the number of rows when all inputs are in the binary data, None otherwise."""
        if not self._takes_part:
            return None
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return self._read_binary(document["inputs"], data)
        except (AttributeError, LookupError, TypeError, ValueError):
            return None

    def _read_binary(self, entries: list[dict[str, Any]], data: memoryview) -> tuple[dict[str, Column], int] | None:
        columns: dict[str, Column] = {}
        rows, offset = -1, 0
        for entry in entries:
            name, shape, parameters = entry["name"], entry["shape"], entry["parameters"]
            expected = self._expected[name]
            count, size = shape[0], parameters["binary_data_size"]
            if rows not in {-1, count}:
                return None
            rows = count
            if (
                len(entry) != _ENTRY_KEYS
                or len(parameters) != 1
                or entry["datatype"] != expected.datatype
                or not _INTEGER.issuperset(map(type, (size, *shape)))
                or shape[1:] != expected.inner
                or size < 0
                or rows < 0
            ):
                return None
            part = data[offset : offset + size]
            offset += size
            column = expected.from_bytes(part, count)
            if column is None:
                return None
            columns[name] = column
        return (columns, rows) if offset == len(data) and self._all_there(columns, entries, rows) else None

    def read_numbers(self, body: bytes) -> tuple[str | None, dict[str, Column], int] | None:
        """Return id, inputs and rows of a large body whose inputs are all numbers, None when it is not of that form."""
        # Brackets are counted because the buffer of a nested list is flat.
        if not self._all_numbers or len(body) < _LARGE_BODY or not _has(1 + 2 * len(self._expected), b"[", body):
            return None
        try:
            with np.errstate(over="raise"):
                return self._read_numbers(self._parser.parse(body))
        except (AttributeError, LookupError, TypeError, ValueError, FloatingPointError, RuntimeError):
            self._parser = simdjson.Parser()  # the old one may still be held by what failed
            return None

    def _read_numbers(self, document: Any) -> tuple[str | None, dict[str, Column], int] | None:
        identifier = document["id"] if len(document) > 1 else None
        if len(document) > 1 + (identifier is not None) or not isinstance(identifier, str | None):
            return None
        columns: dict[str, Column] = {}
        rows = -1
        entries = document["inputs"]
        for entry in entries:
            expected = self._expected[entry["name"]]
            count, *inner = shape = entry["shape"].as_list()
            if rows not in {-1, count} or not _INTEGER.issuperset(map(type, shape)) or inner != expected.inner:
                return None
            rows = count
            if rows < 0:
                return None
            if len(entry) != _ENTRY_KEYS or entry["datatype"] != expected.datatype:
                return None
            values = np.frombuffer(
                entry["data"].as_buffer(of_type=expected.number), "<f8" if expected.number == "d" else "<i8"
            )
            columns[entry["name"]] = values.astype(expected.dtype, copy=False).reshape(shape)
        return (identifier, columns, rows) if self._all_there(columns, entries, rows) else None


def _has(times: int, byte: bytes, body: bytes) -> bool:
    """Whether a byte occurs exactly this many times; searching is faster than counting where there are few."""
    position = -1
    for _ in range(times):
        position = body.find(byte, position + 1)
        if position < 0:
            return False
    return body.find(byte, position + 1) < 0
