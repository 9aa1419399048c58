"""Safety of `model.onnx`, judged from its bytes alone: no library opens what is not yet trusted."""

import mmap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from modelyard.model.errors import InvalidModel
from modelyard.model.protobuf import Buffer, MalformedMessage, Span, spans

ALLOWED_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
MAX_MESSAGES: Final = 5_000_000
MAX_DEPTH: Final = 64
_MAX_TEXT: Final = 4096
_ORT_MAGIC: Final = slice(4, 8)


class _Message(Enum):
    MODEL = auto()
    OPSET = auto()
    GRAPH = auto()
    NODE = auto()
    ATTRIBUTE = auto()
    TENSOR = auto()
    SPARSE_TENSOR = auto()
    FUNCTION = auto()
    TRAINING = auto()
    VALUE_INFO = auto()
    ENTRY = auto()


# Field numbers of onnx.proto through which operators, subgraphs and tensors can be reached.
_CHILDREN: Final[Mapping[_Message, Mapping[int, _Message]]] = {
    _Message.MODEL: {7: _Message.GRAPH, 8: _Message.OPSET, 20: _Message.TRAINING, 25: _Message.FUNCTION},
    _Message.TRAINING: {1: _Message.GRAPH, 2: _Message.GRAPH},
    _Message.GRAPH: {1: _Message.NODE, 5: _Message.TENSOR, 15: _Message.SPARSE_TENSOR},
    _Message.NODE: {5: _Message.ATTRIBUTE},
    _Message.ATTRIBUTE: {
        5: _Message.TENSOR,
        6: _Message.GRAPH,
        10: _Message.TENSOR,
        11: _Message.GRAPH,
        22: _Message.SPARSE_TENSOR,
        23: _Message.SPARSE_TENSOR,
    },
    _Message.SPARSE_TENSOR: {1: _Message.TENSOR, 2: _Message.TENSOR},
    _Message.TENSOR: {13: _Message.ENTRY},
    _Message.FUNCTION: {7: _Message.NODE, 9: _Message.OPSET, 11: _Message.ATTRIBUTE},
}
_DOMAIN_FIELD: Final = {_Message.OPSET: 1, _Message.NODE: 7, _Message.FUNCTION: 10}
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_INITIALIZER = 11, 12, 5
_VALUE_NAME, _TENSOR_NAME, _MODEL_GRAPH = 1, 8, 7


@dataclass(frozen=True)
class OnnxInterface:
    """Names of a graph's inputs (initializers aside) and outputs, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def check_onnx_file(path: Path, siblings: Collection[str]) -> OnnxInterface:
    """Check that an ONNX file uses standard operators only and reads no other file than its named siblings.

    Args:
        path: the file; it is mapped, not read into memory.
        siblings: names, relative to the file's folder, that external tensors may be read from.

    Raises:
        InvalidModel: the file is no ONNX model, or is not safe to load; the message says why.
    """
    if path.stat().st_size == 0:
        raise InvalidModel("is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return check_onnx_bytes(data, siblings)


def check_onnx_bytes(data: Buffer, siblings: Collection[str]) -> OnnxInterface:
    """Like check_onnx_file, for bytes in memory."""
    if data[_ORT_MAGIC] == b"ORTM":
        raise InvalidModel("must be an ONNX model, not a model in ORT format")
    try:
        _check_messages(data, siblings)
        return _interface(data)
    except MalformedMessage as error:
        raise InvalidModel(f"must be an ONNX model: {error}") from None


def _check_messages(data: Buffer, siblings: Collection[str]) -> None:
    pending = [(_Message.MODEL, 0, len(data), 0)]
    visited = 0
    while pending:
        kind, start, end, depth = pending.pop()
        visited += 1
        if visited > MAX_MESSAGES or depth > MAX_DEPTH:
            raise InvalidModel(f"must have at most {MAX_MESSAGES} parts, nested at most {MAX_DEPTH} deep")
        if kind is _Message.ENTRY:
            _check_external(data, start, end, siblings)
            continue
        children = _CHILDREN.get(kind, {})
        for span in spans(data, start, end):
            if span.number == _DOMAIN_FIELD.get(kind):
                _check_domain(_text(data, span))
            elif child := children.get(span.number):
                pending.append((child, span.start, span.end, depth + 1))


def _check_domain(domain: str) -> None:
    if domain not in ALLOWED_DOMAINS:
        raise InvalidModel(
            f"must use operators of the domains 'ai.onnx' and 'ai.onnx.ml' only, found the domain '{domain[:100]}'"
        )


def _check_external(data: Buffer, start: int, end: int, siblings: Collection[str]) -> None:
    fields = {span.number: _text(data, span) for span in spans(data, start, end)}
    if fields.get(1) == "location" and fields.get(2) not in siblings:
        raise InvalidModel(
            f"must keep external data in files of the model directory, found the location '{fields.get(2, '')[:100]}'"
        )


def _interface(data: Buffer) -> OnnxInterface:
    inputs: list[str] = []
    outputs: list[str] = []
    initializers: set[str] = set()
    for graph in _fields(data, Span(0, 0, len(data)), _MODEL_GRAPH):
        for span in spans(data, graph.start, graph.end):
            if span.number == _GRAPH_INPUT:
                inputs += _names(data, span, _VALUE_NAME)
            elif span.number == _GRAPH_OUTPUT:
                outputs += _names(data, span, _VALUE_NAME)
            elif span.number == _GRAPH_INITIALIZER:
                initializers.update(_names(data, span, _TENSOR_NAME))
    if not outputs:
        raise InvalidModel("must be an ONNX model: it has no graph with outputs")
    return OnnxInterface(tuple(name for name in inputs if name not in initializers), tuple(outputs))


def _fields(data: Buffer, message: Span, number: int) -> Iterator[Span]:
    return (span for span in spans(data, message.start, message.end) if span.number == number)


def _names(data: Buffer, message: Span, number: int) -> list[str]:
    return [_text(data, span) for span in _fields(data, message, number)]


def _text(data: Buffer, span: Span) -> str:
    if span.end - span.start > _MAX_TEXT:
        raise MalformedMessage(f"a name at byte {span.start} is longer than {_MAX_TEXT} bytes")
    try:
        return data[span.start : span.end].decode()
    except UnicodeDecodeError:
        raise MalformedMessage(f"a name at byte {span.start} is not UTF-8") from None
