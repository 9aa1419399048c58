"""Calls of the gRPC service become REST requests, and REST answers its messages, without loss."""

import struct
from typing import Any

import numpy as np
import orjson
import pytest

from modelyard.serving.messages import Response
from modelyard.serving.rpc import open_inference_pb2 as pb
from modelyard.serving.rpc.translation import METHODS, InvalidMessageError
from modelyard.serving.tensors import DTYPES, Datatype

INFER = METHODS["ModelInfer"]
VALUES: dict[str, tuple[str, list[Any]]] = {
    "BOOL": ("bool_contents", [True, False]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32768, 32767]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "FP32": ("fp32_contents", [0.5, float("inf")]),
    "FP64": ("fp64_contents", [0.1, 1e300]),
}
TOO_LARGE = {"UINT8": 256, "UINT16": 65536, "INT8": -129, "INT16": 32768}


def request(datatype: str, field: str, values: list[Any], shape: tuple[int, ...] = (2,)) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    getattr(tensor.contents, field).extend(values)
    return pb.ModelInferRequest(model_name="m", inputs=[tensor])


def split(body: bytes, length: bytes) -> tuple[Any, bytes]:
    return orjson.loads(body[: int(length)]), body[int(length) :]


def answer(datatype: str, data: bytes, shape: list[int]) -> Response:
    output = {"name": "y", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
    header = orjson.dumps({"model_name": "m", "model_version": "7", "id": "r", "outputs": [output]})
    headers = b"X-Modelyard-Model: m/7\r\nInference-Header-Content-Length: %d\r\n" % len(header)
    return Response(200, header + data, b"application/octet-stream", headers)


@pytest.mark.parametrize("datatype", VALUES)
def test_typed_contents_travel_as_binary_data_and_back(datatype: str) -> None:
    field, values = VALUES[datatype]
    message = request(datatype, field, values)
    rest = INFER.to_rest(message, 1.0)
    document, data = split(rest.body, rest.headers[b"inference-header-content-length"])
    assert np.frombuffer(data, DTYPES[Datatype(datatype)]).tolist() == values
    assert document["inputs"] == [
        {"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(data)}}
    ]
    response = INFER.to_message(message, answer(datatype, data, [2]))
    assert isinstance(response, pb.ModelInferResponse)
    assert list(getattr(response.outputs[0].contents, field)) == values
    assert not response.raw_output_contents


def test_strings_travel_as_binary_data_and_back() -> None:
    texts = [b"", "Ü".encode()]
    message = request("BYTES", "bytes_contents", texts)
    rest = INFER.to_rest(message, 1.0)
    _, data = split(rest.body, rest.headers[b"inference-header-content-length"])
    assert data == struct.pack("<I", 0) + struct.pack("<I", 2) + texts[1]
    response = INFER.to_message(message, answer("BYTES", data, [2]))
    assert isinstance(response, pb.ModelInferResponse)
    assert list(response.outputs[0].contents.bytes_contents) == texts


@pytest.mark.parametrize("datatype", TOO_LARGE)
def test_number_outside_its_datatype_is_refused(datatype: str) -> None:
    message = request(datatype, VALUES[datatype][0], [0, TOO_LARGE[datatype]])
    with pytest.raises(InvalidMessageError, match=f"has a number outside the range of '{datatype}'"):
        INFER.to_rest(message, 1.0)


def test_raw_contents_travel_as_they_are() -> None:
    message = pb.ModelInferRequest(model_name="m", model_version="7", id="r", raw_input_contents=[b"ab", b"c"])
    for name, size in (("x", 2), ("y", 1)):
        message.inputs.add(name=name, datatype="UINT8", shape=[size])
    rest = INFER.to_rest(message, 1.0)
    document, data = split(rest.body, rest.headers[b"inference-header-content-length"])
    assert (rest.method, rest.target, rest.received) == (b"POST", b"/v2/models/m/versions/7/infer", 1.0)
    assert (document["id"], data) == ("r", b"abc")
    response = INFER.to_message(message, answer("UINT8", b"de", [2]))
    assert isinstance(response, pb.ModelInferResponse)
    assert (response.model_version, response.id, list(response.raw_output_contents)) == ("7", "r", [b"de"])
    assert not response.outputs[0].HasField("contents")


def test_output_without_typed_form_makes_the_answer_raw() -> None:
    message = request("FP32", "fp32_contents", [1, 2])
    response = INFER.to_message(message, answer("FP16", b"\x00\x3c", [1]))
    assert isinstance(response, pb.ModelInferResponse)
    assert list(response.raw_output_contents) == [b"\x00\x3c"]


def test_parameters_travel_except_those_about_binary_data() -> None:
    message = request("BOOL", "bool_contents", [True], shape=(1,))
    for parameters in (message.parameters, message.inputs[0].parameters, message.outputs.add(name="y").parameters):
        parameters["priority"].uint64_param = 2**64 - 1
        parameters["text"].string_param = "a"
        parameters["unset"].SetInParent()
        for name in ("binary_data", "binary_data_size", "binary_data_output"):
            parameters[name].bool_param = False
    rest = INFER.to_rest(message, 1.0)
    document, _ = split(rest.body, rest.headers[b"inference-header-content-length"])
    kept = {"priority": 2**64 - 1, "text": "a", "unset": None}
    assert document["parameters"] == kept | {"binary_data_output": True}
    assert document["inputs"][0]["parameters"] == kept | {"binary_data_size": 1}
    assert document["outputs"] == [{"name": "y", "parameters": kept}]


@pytest.mark.parametrize("name", ["m/versions/7", "m?x", "m%2f", "../m", "m#", "Ü", "", "m\r\n"])
def test_name_of_a_client_stays_one_segment_of_the_path(name: str) -> None:
    rest = METHODS["ModelMetadata"].to_rest(pb.ModelMetadataRequest(name=name, version=name), 1.0)
    path = rest.target.decode()
    assert path.isascii()
    assert not set(path) & set("?#\r\n ")
    assert len(path.split("/")) == (6 if name else 4)
