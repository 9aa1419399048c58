"""Answers to Open Inference Protocol V2 bodies, as JSON and with the binary tensor extension; no I/O."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import orjson

from modelyard.model import Datatype, OutputTensor, Signature
from modelyard.serving.answers import Answer, Run
from modelyard.serving.decoding import InferenceRequest, RequestedOutput
from modelyard.serving.tensors import Array, pack_elements

_MAX_TEMPLATES: Final = 256


Encoded: TypeAlias = tuple[bytes, int | None]
"""A response body, and the length of its JSON part when binary data follows it."""


class Encoder:
    """Encodes the answers of one model."""

    def __init__(self, name: str, version: str, signature: Signature) -> None:
        self._identity = orjson.dumps({"model_name": name, "model_version": version})[:-1]
        self._has_texts = any(tensor.datatype is Datatype.BYTES for tensor in signature.outputs)
        self._outputs = {tensor.name: _begin_output(tensor) for tensor in signature.outputs}
        self._names = list(self._outputs)
        self._templates: dict[object, bytes] = {}

    def encode(self, request: InferenceRequest, answer: Answer) -> Encoded:
        """Encode the outputs that a request asks for. NaN and infinities have no JSON form and become null."""
        begin = self._identity if request.id is None else b'%s,"id":%s' % (self._identity, orjson.dumps(request.id))
        if request.outputs is not None:
            return self._encode_selection(begin, request.outputs, answer)
        run = answer.run
        if run.single_rows and not self._has_texts:
            if run.bodies is None:
                run.bodies = self._encode_rows(run, answer)
            return begin + run.bodies[answer.begin], None
        return begin + self._template_of(answer) % tuple([answer.values(name) for name in self._names]), None

    def _encode_rows(self, run: Run, answer: Answer) -> list[bytes]:
        """Encode all rows of a run, each as an answer of its own."""
        template = self._template_of(answer)
        return [template % values for values in zip(*[run.json_rows(name) for name in self._names], strict=True)]

    def _template_of(self, answer: Answer) -> bytes:
        layout = answer.layout()
        template = self._templates.get(layout)
        if template is None:
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            template = self._templates[layout] = self._template(self._names, answer, b'"data":[%s]')
        return template

    def _encode_selection(self, begin: bytes, outputs: Sequence[RequestedOutput], answer: Answer) -> Encoded:
        contents: list[bytes] = []
        raw: list[bytes] = []
        for wanted in outputs:
            if wanted.binary:
                raw.append(to_bytes(answer.array(wanted.name)))
                contents.append(b'"parameters":{"binary_data_size":%d}' % len(raw[-1]))
            else:
                contents.append(b'"data":[%s]' % answer.values(wanted.name))
        head = begin + self._template([wanted.name for wanted in outputs], answer, b"%s") % tuple(contents)
        return (b"".join((head, *raw)), len(head)) if raw else (head, None)

    def _template(self, names: Sequence[str], answer: Answer, content: bytes) -> bytes:
        """Return the end of an answer with these outputs, with a place for what each of them has."""
        parts = [
            b"%s%s],%s}" % (self._outputs[name], b",".join(b"%d" % size for size in answer.array(name).shape), content)
            for name in names
        ]
        return b',"outputs":[%s]}' % b",".join(parts)


def to_bytes(array: Array) -> bytes:
    """Return an array's elements in the protocol's binary form."""
    if array.dtype != object:
        return array.tobytes()
    return pack_elements(value.encode() for value in array.ravel().tolist())


def _begin_output(tensor: OutputTensor) -> bytes:
    """Return the entry of an output up to the sizes of its shape, for a template."""
    return _literal(orjson.dumps({"name": tensor.name, "datatype": str(tensor.datatype)})[:-1]) + b',"shape":['


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
