"""Open Inference Protocol V2 bodies to tensors, as JSON and with the binary tensor extension; no I/O."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from modelyard.model import Datatype, InputTensor, Signature
from modelyard.serving.plain import PlainReader, json_types
from modelyard.serving.tensors import DTYPES, Array, Column, read_strings

HEADER_LENGTH: Final = b"inference-header-content-length"

# They would change what the answer is, so leaving them unheard would be a wrong answer.
_UNSUPPORTED_PARAMETERS: Final = ("classification", "shared_memory_region")
_NOTHING: Final = memoryview(b"")
_MAX_DIGITS: Final = 18
_MAX_SIZE: Final = 2**31 - 1
"""Of one dimension: nothing larger can be sent, and arrays cannot have every size, not even without elements."""


class BadRequestError(ValueError):
    """A request that breaks the protocol or the model's signature; the message names the field and what is allowed."""


class InvalidValueError(BadRequestError):
    """A value that an input does not take.

    Attributes:
        feature: The input's name.
        kind: `wrong_type`, `out_of_range` or `missing`.
    """

    def __init__(self, message: str, feature: str, kind: str) -> None:
        super().__init__(message)
        self.feature = feature
        self.kind = kind


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output that the client wants, and whether as binary data."""

    name: str
    binary: bool


@dataclass(slots=True)
class InferenceRequest:
    """A validated request.

    Attributes:
        rows: The batch size that all inputs share.
        outputs: What the client wants; None = all outputs, as JSON.
        size: Bytes of the body that the inputs came in and may keep alive.
    """

    id: str | None
    inputs: Mapping[str, Column]
    rows: int
    outputs: Sequence[RequestedOutput] | None = None
    size: int = 0


class Decoder:
    """Decodes requests for one model; not thread-safe."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._inputs = {tensor.name: tensor for tensor in signature.inputs}
        self._outputs = {tensor.name: tensor.datatype for tensor in signature.outputs}
        self._max_rows = max_rows
        self._plain = PlainReader(signature, max_rows)

    def decode(self, body: bytes, headers: Mapping[bytes, bytes]) -> InferenceRequest:
        """Decode and validate a request.

        Args:
            body: The whole body.
            headers: By lower-case name; `inference-header-content-length` says where binary data begins.

        Raises:
            BadRequestError: The request cannot be answered.
        """
        header_length = headers.get(HEADER_LENGTH)
        if header_length is None and (numbers := self._plain.read_numbers(body)) is not None:
            return InferenceRequest(*numbers, size=len(body))
        document, binary = _split(body, header_length)
        identifier = document.get("id")
        if not isinstance(identifier, str | None):
            raise BadRequestError("id: must be a string")
        plain = self._plain.read(document) if header_length is None else self._plain.read_binary(document, binary)
        inputs, rows = plain or self._decode_inputs(document.get("inputs"), _Reader(binary))
        return InferenceRequest(identifier, inputs, rows, self._decode_outputs(document), len(body))

    def _decode_inputs(self, entries: object, binary: "_Reader") -> tuple[Mapping[str, Column], int]:
        if not isinstance(entries, list) or not entries:
            raise BadRequestError(f"inputs: must be a list with the inputs {_names(self._inputs)}")
        arrays: dict[str, Array] = {}
        rows: int | None = None
        for index, entry in enumerate(entries):
            tensor = self._input_of(entry, f"inputs[{index}]", arrays)
            where = f"inputs[{index}] '{tensor.name}'"
            shape = _shape(entry.get("shape"), tensor.shape, where)
            if tensor.shape[0] == -1:
                rows = self._check_rows(shape[0], rows, where)
            arrays[tensor.name] = _array(entry, tensor, shape, binary, where)
        missing = [name for name in self._inputs if name not in arrays]
        if missing:
            raise BadRequestError(f"inputs: missing {_names(missing)}")
        binary.expect_end()
        return arrays, 1 if rows is None else rows

    def _input_of(self, entry: object, where: str, seen: Mapping[str, Array]) -> InputTensor:
        if not isinstance(entry, dict):
            raise BadRequestError(f"{where}: must be an object")
        name = entry.get("name")
        tensor = self._inputs.get(name) if isinstance(name, str) else None
        if tensor is None:
            raise BadRequestError(f"{where}.name: must be one of {_names(self._inputs)}, got {_shown(name)}")
        if name in seen:
            raise BadRequestError(f"{where}.name: '{name}' is given twice")
        if entry.get("datatype") != tensor.datatype:
            raise BadRequestError(
                f"{where} '{name}'.datatype: must be '{tensor.datatype}', got {_shown(entry.get('datatype'))}"
            )
        return tensor

    def _check_rows(self, rows: int, before: int | None, where: str) -> int:
        if rows > self._max_rows:
            raise BadRequestError(f"{where}.shape: at most {self._max_rows} rows are allowed, got {rows}")
        if before is not None and rows != before:
            raise BadRequestError(
                f"{where}.shape: all inputs must have the same number of rows, got {before} and {rows}"
            )
        return rows

    def _decode_outputs(self, document: Mapping[str, Any]) -> Sequence[RequestedOutput] | None:
        if "parameters" not in document and "outputs" not in document:
            return None
        default = _flag(document, "binary_data_output", "parameters") or False
        entries = document.get("outputs")
        if not isinstance(entries, list | None):
            raise BadRequestError("outputs: must be a list")
        if not entries:
            return [RequestedOutput(name, default) for name in self._outputs] if default else None
        requested: dict[str, RequestedOutput] = {}
        for index, entry in enumerate(entries):
            where = f"outputs[{index}]"
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or name not in self._outputs:
                raise BadRequestError(f"{where}.name: must be one of {_names(self._outputs)}, got {_shown(name)}")
            if name in requested:
                raise BadRequestError(f"{where}.name: '{name}' is given twice")
            binary = _flag(entry, "binary_data", f"{where}.parameters")
            requested[name] = RequestedOutput(name, default if binary is None else binary)
        return list(requested.values())


class _Reader:
    """Takes the binary data of inputs off the end of a body, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def take(self, size: int, where: str) -> memoryview:
        if size > len(self._data):
            raise BadRequestError(f"{where}: {size} bytes of binary data are announced, {len(self._data)} are there")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def expect_end(self) -> None:
        if self._data:
            raise BadRequestError(f"{len(self._data)} bytes of binary data belong to no input")


def _split(body: bytes, header_length: bytes | None) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON part as an object, and the binary data after it."""
    if header_length is None:
        return _parse(body), _NOTHING
    length = int(header_length) if header_length.isdigit() and len(header_length) <= _MAX_DIGITS else -1
    if not 0 <= length <= len(body):
        raise BadRequestError(
            f"header Inference-Header-Content-Length: must be a number of at most {len(body)} (the body's length)"
        )
    view = memoryview(body)
    return _parse(view[:length]), view[length:]


def _parse(text: bytes | memoryview) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequestError("the body must be a JSON object")
    return document


def _shape(given: object, allowed: Sequence[int], where: str) -> list[int]:
    fits = (
        isinstance(given, list)
        and len(given) == len(allowed)
        and all(type(size) is int and 0 <= size <= _MAX_SIZE for size in given)
        and all(wanted in (-1, size) for size, wanted in zip(given, allowed, strict=True))
    )
    if not fits or not isinstance(given, list):
        raise BadRequestError(f"{where}.shape: must be {list(allowed)} (-1 is any size), got {_shown(given)}")
    return given


def _parameters(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequestError(f"{where}: must be an object")
    for name in _UNSUPPORTED_PARAMETERS:
        if name in parameters:
            raise BadRequestError(f"{where}.{name}: is not supported")
    return parameters


def _flag(entry: Mapping[str, Any], name: str, where: str) -> bool | None:
    value = _parameters(entry, where).get(name)
    if not isinstance(value, bool | None):
        raise BadRequestError(f"{where}.{name}: must be true or false, got {_shown(value)}")
    return value


def _array(entry: Mapping[str, Any], tensor: InputTensor, shape: list[int], binary: _Reader, where: str) -> Array:
    size = _parameters(entry, f"{where}.parameters").get("binary_data_size")
    data = entry.get("data")
    if (size is None) == (data is None):
        raise BadRequestError(f"{where}: must have either data or parameters.binary_data_size")
    if size is None:
        array = _from_json(data, tensor, shape, f"{where}.data")
    elif type(size) is not int or size < 0:
        raise BadRequestError(f"{where}.parameters.binary_data_size: must be a number of bytes, got {_shown(size)}")
    else:
        array = _from_bytes(binary.take(size, where), tensor.datatype, shape, where)
    if tensor.datatype.is_float:
        _check_finite(array, tensor, where)
    return array.reshape(shape)


def _from_json(data: object, tensor: InputTensor, shape: list[int], where: str) -> Array:
    if not isinstance(data, list):
        raise BadRequestError(f"{where}: must be a list")
    flat = _flatten(data, shape, where)
    if len(flat) != math.prod(shape):
        raise BadRequestError(f"{where}: shape {shape} takes {math.prod(shape)} values, got {len(flat)}")
    allowed = json_types(tensor)
    if not allowed.issuperset(map(type, flat)):
        index, value = next((i, value) for i, value in enumerate(flat) if type(value) not in allowed)
        kind = "missing" if value is None else "wrong_type"
        raise InvalidValueError(
            f"{where}[{index}]: must be {_described(tensor)}, got {_shown(value)}", tensor.name, kind
        )
    dtype = DTYPES[tensor.datatype]
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, dtype=dtype)
    except OverflowError:
        raise InvalidValueError(
            f"{where}: has a number outside the range of '{tensor.datatype}'", tensor.name, "out_of_range"
        ) from None


def _flatten(data: list[Any], shape: list[int], where: str) -> list[Any]:
    """Return nested data as one list; data that is flat already stays as it is."""
    if not data or type(data[0]) is not list:
        return data
    if len(data) != shape[0]:
        raise BadRequestError(f"{where}: must be nested as shape {shape} says, or flat")
    for size in shape[1:]:
        if not all(type(part) is list and len(part) == size for part in data):
            raise BadRequestError(f"{where}: must be nested as shape {shape} says, or flat")
        data = list(chain.from_iterable(data))
    return data


def _described(tensor: InputTensor) -> str:
    if tensor.datatype is Datatype.BYTES:
        return "a string"
    if tensor.datatype is Datatype.BOOL:
        return "true or false"
    if tensor.datatype.is_integer:
        return "a whole number"
    return "a number or null" if tensor.nullable else "a number"


def _from_bytes(data: memoryview, datatype: Datatype, shape: list[int], where: str) -> Array:
    count = math.prod(shape)
    if datatype is Datatype.BYTES:
        return _strings(data, count, where)
    dtype = DTYPES[datatype]
    if len(data) != count * dtype.itemsize:
        raise BadRequestError(
            f"{where}: shape {shape} takes {count * dtype.itemsize} bytes of binary data, got {len(data)}"
        )
    if datatype is Datatype.BOOL:
        return np.frombuffer(data, dtype=np.uint8).astype(np.bool_)
    array = np.frombuffer(data, dtype=dtype)
    return array if array.flags.aligned else array.copy()


def _strings(data: memoryview, count: int, where: str) -> Array:
    try:
        return np.array(read_strings(data, count), dtype=object)
    except ValueError as error:
        raise BadRequestError(f"{where}: {error}") from None


def _check_finite(array: Array, tensor: InputTensor, where: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(array, axis=None, dtype=np.float64)
    if math.isfinite(total):
        return  # a sum is finite only if all that went into it is
    allowed = ~np.isinf(array) if tensor.nullable else np.isfinite(array)
    if not allowed.all():
        index = int(np.argmin(allowed))
        missing = bool(np.isnan(array.flat[index]))
        raise InvalidValueError(
            f"{where}: value {index} is not a finite '{tensor.datatype}'"
            + (" (the input is not nullable)" if missing else ""),
            tensor.name,
            "missing" if missing else "out_of_range",
        )


def _names(names: Mapping[str, object] | Sequence[str]) -> str:
    """Names for a message, not more than a person wants to read."""
    shown = [f"'{name}'" for name in list(names)[:20]]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _shown(value: object) -> str:
    """A value of the client for a message, cut to a bearable length."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # parsed, but nested too deeply to be written
        return "a deeply nested value"
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - a line of text
