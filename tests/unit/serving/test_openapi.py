"""The OpenAPI document names every route, and its schemas say what the codec does."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson
import pytest

from modelyard.model import Datatype, InputTensor, Kind, OutputTensor, Signature, Task
from modelyard.serving.decoding import BadRequestError, Decoder
from modelyard.serving.openapi import api_document
from modelyard.serving.routes import Endpoint, paths


def signature(*datatypes: Datatype, shape: tuple[int, ...] = (-1, 2)) -> Signature:
    inputs = tuple(
        InputTensor(
            name=f"Ein/gabe {datatype}",
            datatype=datatype,
            shape=shape,
            kind=Kind.CATEGORICAL if datatype is Datatype.BYTES else Kind.NUMERIC,
        )
        for datatype in datatypes
    )
    return Signature(
        task=Task.OTHER, inputs=inputs, outputs=(OutputTensor(name="y", datatype=Datatype.FP32, shape=(-1,)),)
    )


def request_schema(document: dict[str, Any]) -> dict[str, Any]:
    schemas: dict[str, Any] = document["components"]["schemas"]
    return {"$ref": "#/components/schemas/InferenceRequest", "components": {"schemas": schemas}}


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


DOCUMENTS = {"any model": api_document(), "one model": api_document("m", "7", signature(*Datatype), 8)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_leads_somewhere(name: str) -> None:
    document = DOCUMENTS[name]
    found = set(references(document))
    assert found
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_document_has_the_paths_of_the_table_with_their_method() -> None:
    table = paths("m", "7")
    described = DOCUMENTS["one model"]["paths"]
    assert {path: list(item) for path, item in described.items()} == {
        path: ["post"] if endpoint is Endpoint.INFER else ["get"] for path, endpoint in table.items()
    }
    ids = [operation["operationId"] for item in described.values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


def test_document_of_any_model_declares_the_parameters_in_its_paths() -> None:
    item = DOCUMENTS["any model"]["paths"]["/v2/models/{model}/versions/{version}/infer"]
    assert [(parameter["name"], parameter["in"]) for parameter in item["parameters"]] == [
        ("model", "path"),
        ("version", "path"),
    ]


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("shape", [(-1,), (-1, 3), (2, 2)])
def test_example_is_a_request_that_is_accepted(datatype: Datatype, shape: tuple[int, ...]) -> None:
    model = signature(datatype, shape=shape)
    document = api_document("m", "7", model, 8)
    (example,) = document["components"]["schemas"]["InferenceRequest"]["examples"]
    jsonschema_rs.validate(request_schema(document), example)
    assert Decoder(model, 8).decode(orjson.dumps(example), {}).rows == 1


REFUSED: dict[str, dict[str, Any]] = {
    "name": {"name": "other"},
    "datatype": {"datatype": "FP64"},
    "rank": {"shape": [1]},
    "width": {"shape": [1, 3]},
    "rows": {"shape": [9, 2]},
    "negative rows": {"shape": [-1, 2]},
    "text": {"data": ["1", "2"]},
    "flag": {"data": [True, False]},
    "null": {"data": [None, 1]},
    "parameters": {"parameters": 5},
    "size": {"parameters": {"binary_data_size": -1}},
}


@pytest.mark.parametrize("case", REFUSED)
def test_schema_refuses_what_the_codec_refuses(case: str) -> None:
    model = signature(Datatype.FP32)
    document = api_document("m", "7", model, 8)
    request = json.loads(json.dumps(document["components"]["schemas"]["InferenceRequest"]["examples"][0]))
    request["inputs"][0] |= REFUSED[case]
    assert not jsonschema_rs.is_valid(request_schema(document), request)
    with pytest.raises(BadRequestError):
        Decoder(model, 8).decode(orjson.dumps(request), {})


ACCEPTED: dict[str, dict[str, Any]] = {
    "nulls": {"id": None, "parameters": None, "outputs": None},
    "no outputs": {"outputs": []},
    "chosen outputs": {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
    "unknown fields": {"of_ours": 1, "parameters": {"of_ours": 1, "binary_data_output": False}},
    "nested data": {
        "inputs": [{"name": "Ein/gabe FP32", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4.5]]}]
    },
    "zero rows": {"inputs": [{"name": "Ein/gabe FP32", "datatype": "FP32", "shape": [0, 2], "data": []}]},
}


@pytest.mark.parametrize("case", ACCEPTED)
@pytest.mark.parametrize("any_model", [True, False])
def test_schema_accepts_what_the_codec_accepts(case: str, any_model: bool) -> None:
    model = signature(Datatype.FP32)
    document = api_document("m", "7", model, 8)
    request = document["components"]["schemas"]["InferenceRequest"]["examples"][0] | ACCEPTED[case]
    jsonschema_rs.validate(request_schema(api_document() if any_model else document), request)
    Decoder(model, 8).decode(orjson.dumps(request), {})
