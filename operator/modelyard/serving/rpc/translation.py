"""Calls of the gRPC service as requests of the REST protocol, and REST answers as the service's messages; no I/O.

Both protocols say the same, so that what is behind the REST endpoints validates, batches, times and counts gRPC calls
too. Tensors travel by the binary tensor extension, whose bytes are those of `raw_input_contents`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import orjson
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from modelyard.model import Datatype
from modelyard.serving.decoding import HEADER_LENGTH
from modelyard.serving.messages import Request, Response
from modelyard.serving.rpc import open_inference_pb2 as pb
from modelyard.serving.tensors import BYTES_LENGTH, DTYPES, pack_elements

SERVICE: Final[str] = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

_CONTENTS: Final = {
    Datatype.BOOL: "bool_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
"""The field of `InferTensorContents` for a datatype; FP16 has none."""
# They say how REST carries tensors.
_TRANSPORT_PARAMETERS: Final = frozenset({"binary_data", "binary_data_size", "binary_data_output"})


class InvalidMessageError(ValueError):
    """A message that breaks the protocol; says which field and what is allowed."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the service.

    Attributes:
        request: Class of its requests.
        to_rest: From a request and the `time.monotonic()` of its arrival to the REST request.
        to_message: From a request and the REST response to the answer.
        answers: HTTP statuses that `to_message` takes; others are errors.
    """

    request: type[Message]
    to_rest: Callable[[Any, float], Request]
    to_message: Callable[[Any, Response], Message]
    answers: frozenset[int] = frozenset({200})


def header_lines(response: Response) -> dict[bytes, bytes]:
    """Return the further headers of a response by lower-case name."""
    lines = (line.partition(b": ") for line in response.headers.split(b"\r\n") if line)
    return {name.lower(): value for name, _, value in lines}


def _get(path: Callable[[Any], str]) -> Callable[[Any, float], Request]:
    return lambda message, received: _request(b"GET", path(message), received)


def _document(response_class: type[Message]) -> Callable[[Any, Response], Message]:
    return lambda _, response: ParseDict(orjson.loads(response.body), response_class(), ignore_unknown_fields=True)


def _model_path(name: str, version: str) -> str:
    suffix = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/v2/models/{quote(name, safe='')}{suffix}"


def _request(
    verb: bytes, path: str, received: float, body: bytes = b"", headers: Mapping[bytes, bytes] | None = None
) -> Request:
    return Request(verb, path.encode(), headers or {}, body, received)


def _infer_request(message: pb.ModelInferRequest, received: float) -> Request:
    contents = _input_contents(message)
    document: dict[str, Any] = {
        "parameters": {**_parameters(message.parameters), "binary_data_output": True},
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": {**_parameters(tensor.parameters), "binary_data_size": len(content)},
            }
            for tensor, content in zip(message.inputs, contents, strict=True)
        ],
        "outputs": [{"name": o.name, "parameters": _parameters(o.parameters)} for o in message.outputs],
    }
    if message.id:
        document["id"] = message.id
    header = orjson.dumps(document)
    path = _model_path(message.model_name, message.model_version) + "/infer"
    headers = {HEADER_LENGTH: b"%d" % len(header)}
    return _request(b"POST", path, received, b"".join((header, *contents)), headers)


def _input_contents(message: pb.ModelInferRequest) -> list[bytes]:
    raw = list(message.raw_input_contents)
    if not raw:
        return [_pack(tensor, f"inputs[{index}].contents") for index, tensor in enumerate(message.inputs)]
    if any(tensor.HasField("contents") for tensor in message.inputs):
        raise InvalidMessageError("raw_input_contents: inputs must not have contents at the same time")
    if len(raw) != len(message.inputs):
        raise InvalidMessageError(
            f"raw_input_contents: must have one element for each of the {len(message.inputs)} inputs, got {len(raw)}"
        )
    return raw


def _parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    choices = ((name, parameter, parameter.WhichOneof("parameter_choice")) for name, parameter in parameters.items())
    return {
        name: getattr(parameter, choice) if choice else None
        for name, parameter, choice in choices
        if name not in _TRANSPORT_PARAMETERS
    }


def _pack(tensor: pb.ModelInferRequest.InferInputTensor, where: str) -> bytes:
    """Return the typed contents of an input as its raw contents."""
    try:
        datatype = Datatype(tensor.datatype)
    except ValueError:
        return b""  # whoever knows the signature refuses the datatype
    field = _CONTENTS.get(datatype)
    if field is None:
        raise InvalidMessageError(f"{where}: '{datatype}' has no typed contents, use raw_input_contents")
    others = [descriptor.name for descriptor, _ in tensor.contents.ListFields() if descriptor.name != field]
    if others:
        raise InvalidMessageError(f"{where}: '{datatype}' must be in {field}, got {', '.join(others)}")
    values = list(getattr(tensor.contents, field))
    shape = list(tensor.shape)
    if min(shape, default=0) >= 0 and len(values) != math.prod(shape):
        raise InvalidMessageError(f"{where}: shape {shape} takes {math.prod(shape)} values, got {len(values)}")
    if datatype is Datatype.BYTES:
        return pack_elements(values)
    try:
        return np.array(values, dtype=DTYPES[datatype]).tobytes()
    except OverflowError:
        raise InvalidMessageError(f"{where}: has a number outside the range of '{datatype}'") from None


def _infer_response(message: pb.ModelInferRequest, response: Response) -> pb.ModelInferResponse:
    body = memoryview(response.body)
    position = int(header_lines(response)[HEADER_LENGTH])
    document = orjson.loads(body[:position])
    answer = pb.ModelInferResponse(
        model_name=document["model_name"], model_version=document["model_version"], id=document.get("id", "")
    )
    outputs = document["outputs"]
    raw = bool(message.raw_input_contents) or any(output["datatype"] not in _CONTENTS for output in outputs)
    for output in outputs:
        end = position + output["parameters"]["binary_data_size"]
        tensor = answer.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        if raw:
            answer.raw_output_contents.append(bytes(body[position:end]))
        else:
            datatype = Datatype(output["datatype"])
            getattr(tensor.contents, _CONTENTS[datatype]).extend(_unpack(body[position:end], datatype))
        position = end
    return answer


def _unpack(data: memoryview, datatype: Datatype) -> Iterable[Any]:
    """Return raw contents as typed contents."""
    if datatype is not Datatype.BYTES:
        values: list[Any] = np.frombuffer(data, dtype=DTYPES[datatype]).tolist()
        return values
    strings, position = [], 0
    while position < len(data):
        begin = position + BYTES_LENGTH.size
        position = begin + BYTES_LENGTH.unpack_from(data, position)[0]
        strings.append(bytes(data[begin:position]))
    return strings


_READINESS: Final = frozenset({200, 503})

METHODS: Final[Mapping[str, Method]] = {
    "ServerLive": Method(
        pb.ServerLiveRequest, _get(lambda _: "/v2/health/live"), _document(pb.ServerLiveResponse), _READINESS
    ),
    "ServerReady": Method(
        pb.ServerReadyRequest, _get(lambda _: "/v2/health/ready"), _document(pb.ServerReadyResponse), _READINESS
    ),
    "ModelReady": Method(
        pb.ModelReadyRequest,
        _get(lambda message: _model_path(message.name, message.version) + "/ready"),
        _document(pb.ModelReadyResponse),
        _READINESS,
    ),
    "ServerMetadata": Method(pb.ServerMetadataRequest, _get(lambda _: "/v2"), _document(pb.ServerMetadataResponse)),
    "ModelMetadata": Method(
        pb.ModelMetadataRequest,
        _get(lambda message: _model_path(message.name, message.version)),
        _document(pb.ModelMetadataResponse),
    ),
    "ModelInfer": Method(pb.ModelInferRequest, _infer_request, _infer_response),
}
