"""A run of a model, and the rows in it that answer one request."""

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

import orjson

from modelyard.serving.tensors import Array

Shape: TypeAlias = tuple[int, ...]

_MANY_ROWS: Final = 8
"""From so many rows on it is faster to write an answer's own JSON than to put it together."""


class Run:
    """What one run was given and gave, by name, with the rows of all its requests in their order.

    Attributes:
        rows: How many.
        size: Bytes of the bodies that the inputs came in and may keep alive.
        single_rows: Whether every request has one row, and there are several.
        bodies: For an encoder to keep what it made for all of them at once.
        row_shapes: Of each output, without its first dimension.
    """

    __slots__ = ("_json", "bodies", "inputs", "outputs", "row_shapes", "rows", "single_rows", "size")

    def __init__(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        rows: int,
        *,
        size: int = 0,
        single_rows: bool = False,
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.outputs = outputs
        self.row_shapes: tuple[Shape, ...] = tuple([array.shape[1:] for array in outputs.values()])
        self.size = size
        self.single_rows = single_rows
        self.bodies: list[bytes] | None = None
        self._json: dict[str, list[bytes]] = {}

    def json_rows(self, name: str) -> list[bytes]:
        """Return each row of a numeric output, flat, as the inside of a JSON list: made once for all requests."""
        rows = self._json.get(name)
        if rows is None:
            array = self.outputs[name]
            flat_rows = array.reshape(len(array), math.prod(array.shape[1:]))
            text = orjson.dumps(flat_rows, option=orjson.OPT_SERIALIZE_NUMPY)
            rows = self._json[name] = text[2:-2].split(b"],[")
        return rows


class Answer:
    """The rows of a run that answer one request: from `begin` to `end`, or all where no other request shares it."""

    __slots__ = ("_end", "_whole", "begin", "run")

    def __init__(self, run: Run, begin: int, end: int, *, whole: bool) -> None:
        self.run = run
        self.begin = begin
        self._end = end
        self._whole = whole

    def array(self, name: str) -> Array:
        """Return an output."""
        array = self.run.outputs[name]
        return array if self._whole else array[self.begin : self._end]

    def values(self, name: str) -> bytes:
        """Return the values of an output, flat and row-major, as the inside of a JSON list."""
        array = self.run.outputs[name]
        if self._end - self.begin < _MANY_ROWS and not self._whole and not array.dtype.hasobject:
            rows = self.run.json_rows(name)
            return rows[self.begin] if self._end == self.begin + 1 else b",".join(rows[self.begin : self._end])
        own = self.array(name).ravel()
        if array.dtype.hasobject:
            return orjson.dumps(own.tolist())[1:-1]
        return orjson.dumps(own, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]

    def layout(self) -> "tuple[int, tuple[Shape, ...]] | tuple[Shape, ...]":
        """Return what tells whether the outputs have the same shapes as those of another answer."""
        if self._whole:
            return tuple([array.shape for array in self.run.outputs.values()])
        return self._end - self.begin, self.run.row_shapes
