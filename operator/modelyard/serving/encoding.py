"""Answers to Open Inference Protocol V2 bodies, as JSON and with the binary tensor extension; no I/O."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import orjson

from modelyard.model import OutputTensor, Signature
from modelyard.serving.answers import Answer
from modelyard.serving.decoding import InferenceRequest, RequestedOutput
from modelyard.serving.tensors import Array

_LENGTH: Final = struct.Struct("<I")
_MAX_TEMPLATES: Final = 256


@dataclass(slots=True)
class Encoded:
    """A response body; `header_length` is the length of its JSON part when binary data follows it."""

    body: bytes
    header_length: int | None = None


class Encoder:
    """Encodes the answers of one model."""

    def __init__(self, name: str, version: str, signature: Signature) -> None:
        self._identity = _literal(orjson.dumps({"model_name": name, "model_version": version})[:-1])
        self._outputs = {tensor.name: _begin_output(tensor) for tensor in signature.outputs}
        self._names = list(self._outputs)
        self._templates: dict[object, bytes] = {}

    def encode(self, request: InferenceRequest, answer: Answer) -> Encoded:
        """Encode the outputs that a request asks for. NaN and infinities have no JSON form and become null."""
        own = b"" if request.id is None else b',"id":' + orjson.dumps(request.id)
        if request.outputs is not None:
            return self._encode_selection(own, request.outputs, answer)
        layout = answer.layout()
        template = self._templates.get(layout)
        if template is None:
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            template = self._templates[layout] = self._template(self._names, answer, b'"data":[%s]')
        return Encoded(template % (own, *[answer.values(name) for name in self._names]))

    def _encode_selection(self, own: bytes, outputs: Sequence[RequestedOutput], answer: Answer) -> Encoded:
        contents: list[bytes] = []
        raw: list[bytes] = []
        for wanted in outputs:
            if wanted.binary:
                raw.append(to_bytes(answer.array(wanted.name)))
                contents.append(b'"parameters":{"binary_data_size":%d}' % len(raw[-1]))
            else:
                contents.append(b'"data":[%s]' % answer.values(wanted.name))
        head = self._template([wanted.name for wanted in outputs], answer, b"%s") % (own, *contents)
        return Encoded(b"".join((head, *raw)), len(head)) if raw else Encoded(head)

    def _template(self, names: Sequence[str], answer: Answer, content: bytes) -> bytes:
        """Return an answer with these outputs, with places for its id and for what each output has."""
        parts = [
            b"%s%s],%s}" % (self._outputs[name], b",".join(b"%d" % size for size in answer.array(name).shape), content)
            for name in names
        ]
        return b'%s%%s,"outputs":[%s]}' % (self._identity, b",".join(parts))


def to_bytes(array: Array) -> bytes:
    """Return an array's elements in the protocol's binary form."""
    if array.dtype != object:
        return array.tobytes()
    encoded = [value.encode() for value in array.ravel().tolist()]
    return b"".join(chain.from_iterable((_LENGTH.pack(len(value)), value) for value in encoded))


def _begin_output(tensor: OutputTensor) -> bytes:
    """Return the entry of an output up to the sizes of its shape, for a template."""
    return _literal(orjson.dumps({"name": tensor.name, "datatype": str(tensor.datatype)})[:-1]) + b',"shape":['


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
