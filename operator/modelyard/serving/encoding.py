"""Answers to Open Inference Protocol V2 bodies, as JSON and with the binary tensor extension; no I/O."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import orjson

from modelyard.model import OutputTensor, Signature
from modelyard.serving.answers import Answer
from modelyard.serving.decoding import RequestedOutput
from modelyard.serving.tensors import Array

_LENGTH: Final = struct.Struct("<I")


@dataclass(slots=True)
class Encoded:
    """A response body; `header_length` is the length of its JSON part when binary data follows it."""

    body: bytes
    header_length: int | None = None


class Encoder:
    """Encodes the answers of one model."""

    def __init__(self, name: str, version: str, signature: Signature) -> None:
        self._identity = orjson.dumps({"model_name": name, "model_version": version})[:-1]
        self._outputs = {tensor.name: _begin_output(tensor) for tensor in signature.outputs}

    def encode(self, identifier: str | None, outputs: Sequence[RequestedOutput], answer: Answer) -> Encoded:
        """Encode the outputs that are asked for. NaN and infinities have no JSON form and become null."""
        parts: list[bytes] = []
        raw: list[bytes] = []
        for wanted in outputs:
            array = answer.array(wanted.name)
            begin = self._outputs[wanted.name] % b",".join(b"%d" % size for size in array.shape)
            if wanted.binary:
                raw.append(to_bytes(array))
                parts.append(b'%s,"parameters":{"binary_data_size":%d}}' % (begin, len(raw[-1])))
            else:
                parts.append(b'%s,"data":[%s]}' % (begin, answer.values(wanted.name)))
        own = b"" if identifier is None else b',"id":' + orjson.dumps(identifier)
        head = b'%s%s,"outputs":[%s]}' % (self._identity, own, b",".join(parts))
        return Encoded(b"".join((head, *raw)), len(head)) if raw else Encoded(head)


def to_bytes(array: Array) -> bytes:
    """Return an array's elements in the protocol's binary form."""
    if array.dtype != object:
        return array.tobytes()
    encoded = [value.encode() for value in array.ravel().tolist()]
    return b"".join(chain.from_iterable((_LENGTH.pack(len(value)), value) for value in encoded))


def _begin_output(tensor: OutputTensor) -> bytes:
    """Return the entry of an output up to its shape, with a place for the sizes."""
    begin = orjson.dumps({"name": tensor.name, "datatype": str(tensor.datatype)})[:-1].replace(b"%", b"%%")
    return begin + b',"shape":[%s]'
