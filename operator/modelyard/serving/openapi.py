"""The OpenAPI document of what is served, made from the table of routes and the model's signature; no I/O.

Its schemas accept everything that the server accepts. The server is stricter where JSON Schema has no words: `shape`
must say how much `data` there is, and every input must be there once.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelyard import __version__
from modelyard.model import Datatype, InputTensor, OutputTensor, Signature
from modelyard.serving.routes import Endpoint, paths

Schema = dict[str, Any]

_ERRORS: Final = {
    "400": "Not HTTP, or not what the protocol and the model's signature allow; the text names the field.",
    "404": "No such model or version.",
    "408": "The request did not arrive in time.",
    "413": "The body is too large.",
    "415": "Compressed requests are not supported.",
    "417": "The only expectation that is met is `100-continue`.",
    "431": "The head is too large.",
    "500": "The model failed on a valid request.",
    "503": "The model is being loaded, or there is too much to do: try again after `Retry-After` seconds.",
    "504": "Not answered in time.",
}
_OF_EVERY_ENDPOINT: Final = ("400", "408", "413", "417", "431", "503")
_OF_MODELS: Final = (*_OF_EVERY_ENDPOINT, "404")
_OF_INFER: Final = (*_OF_MODELS, "415", "500", "504")

_TITLES: Final = {
    Endpoint.LIVE: "Whether the server is alive",
    Endpoint.READY: "Whether the server is ready",
    Endpoint.SERVER_METADATA: "Name, version and extensions of the server",
    Endpoint.MODEL_METADATA: "Name, versions, inputs and outputs of the model",
    Endpoint.MODEL_READY: "Whether the model is ready",
    Endpoint.INFER: "Ask the model",
    Endpoint.OPENAPI: "This document",
}
_ANSWERS: Final = {
    Endpoint.LIVE: "Live",
    Endpoint.READY: "Ready",
    Endpoint.SERVER_METADATA: "ServerMetadata",
    Endpoint.MODEL_METADATA: "ModelMetadata",
    Endpoint.MODEL_READY: "ModelReady",
}
"""Schemas of answers that are JSON."""
_STATES: Final = (Endpoint.LIVE, Endpoint.READY, Endpoint.MODEL_READY)
"""Their 503 has the same schema as their 200."""

_OPTIONAL_ID: Final[Schema] = {"type": ["string", "null"], "description": "Comes back in the answer."}
_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[Schema] = {"type": ["boolean", "null"]}
_DATATYPE: Final[Schema] = {"enum": [datatype.value for datatype in Datatype]}


def api_document(
    model: str = "{model}", version: str = "{version}", signature: Signature | None = None, max_rows: int | None = None
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a server of one version of one model.

    Without arguments it is that of any model. `max_rows` is the largest first dimension of an input.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Modelyard model server" if signature is None else f"Model {model}, version {version}",
            "version": __version__,
            "description": "The Open Inference Protocol V2 with the binary tensor extension.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {path: _path_item(path, endpoint) for path, endpoint in paths(model, version).items()},
        "components": {
            "schemas": _fixed_schemas()
            | {
                "InferenceRequest": _request(signature, max_rows),
                "InferenceResponse": _response(signature),
            },
            "responses": {status: _error(status, text) for status, text in _ERRORS.items()},
            "headers": {
                "X-Modelyard-Model": {"description": "`<name>/<version>` of what answered", "schema": _TEXT},
                "Retry-After": {"description": "Seconds", "schema": _COUNT},
                "Inference-Header-Content-Length": {
                    "description": "Length of the JSON part, after which the binary data begins",
                    "schema": _COUNT,
                },
            },
        },
    }


def _path_item(path: str, endpoint: Endpoint) -> dict[str, Any]:
    suffix = "_of_version" if "/versions/" in path else "_slash" if path.endswith("/") else ""
    operation: dict[str, Any] = {"operationId": endpoint.value + suffix, "summary": _TITLES[endpoint]}
    if endpoint is Endpoint.INFER:
        operation |= _infer()
    else:
        operation["responses"] = _described(endpoint)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT}
        for name in ("model", "version")
        if f"{{{name}}}" in path
    ]
    method = "post" if endpoint is Endpoint.INFER else "get"
    return ({"parameters": parameters} if parameters else {}) | {method: operation}


def _described(endpoint: Endpoint) -> dict[str, Any]:
    """Responses of everything but inference."""
    about_model = endpoint in (Endpoint.MODEL_METADATA, Endpoint.MODEL_READY)
    answer = _ref("schemas", _ANSWERS[endpoint]) if endpoint in _ANSWERS else {"type": "object"}
    responses: dict[str, Any] = {"200": {"description": "OK", "content": _json(answer)}}
    responses |= _errors(_OF_MODELS if about_model else _OF_EVERY_ENDPOINT)
    if endpoint is Endpoint.MODEL_METADATA:
        responses["200"]["headers"] = _headers("X-Modelyard-Model")
    if endpoint in _STATES:
        either = {"anyOf": [answer, _ref("schemas", "Error")]}
        responses["503"] = {"description": "No, or the server takes no more connections.", "content": _json(either)}
    return responses


def _infer() -> dict[str, Any]:
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    split = "Inference-Header-Content-Length"
    return {
        "description": "Binary data of tensors follows the JSON part, in the order of the tensors: little-endian, "
        "row-major; an element of BYTES is four bytes of length and then UTF-8.",
        "parameters": [{"name": split, "in": "header", **_header_object(split)}],
        "requestBody": {"required": True, "content": _json(_ref("schemas", "InferenceRequest")) | binary},
        "responses": {
            "200": {
                "description": "The outputs; with binary data when the request asks for it.",
                "headers": _headers("X-Modelyard-Model", split),
                "content": _json(_ref("schemas", "InferenceResponse")) | binary,
            },
            **_errors(_OF_INFER),
        },
    }


def _header_object(name: str) -> dict[str, Any]:
    return {"description": f"As in answers: see the header `{name}`", "required": False, "schema": _COUNT}


def _fixed_schemas() -> dict[str, Schema]:
    """Schemas that are the same for every model."""
    tensor = _object({"name": _TEXT, "datatype": _DATATYPE, "shape": _list({"type": "integer", "minimum": -1})})
    return {
        "Error": _object({"error": _TEXT}),
        "Live": _object({"live": {"type": "boolean"}}),
        "Ready": _object({"ready": {"type": "boolean"}}),
        "ModelReady": _object({"name": _TEXT, "ready": {"type": "boolean"}}),
        "ServerMetadata": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
        "ModelMetadata": _object(
            {
                "name": _TEXT,
                "versions": _list(_TEXT),
                "platform": _TEXT,
                "inputs": _list(_ref("schemas", "TensorMetadata")),
                "outputs": _list(_ref("schemas", "TensorMetadata")),
            }
        ),
        "TensorMetadata": tensor,
        "Texts": _nested("Texts", _TEXT),
        "Flags": _nested("Flags", {"type": "boolean"}),
        "WholeNumbers": _nested("WholeNumbers", {"type": "integer"}),
        "Numbers": _nested("Numbers", {"type": "number"}),
        "NumbersOrNulls": _nested("NumbersOrNulls", {"type": ["number", "null"]}),
        "AnyData": _nested("AnyData", {"type": ["number", "string", "boolean", "null"]}),
    }


def _request(signature: Signature | None, max_rows: int | None) -> Schema:
    if signature is None:
        inputs = _list(_input(None, max_rows)) | {"minItems": 1}
        outputs = _list(_requested(_TEXT))
    else:
        count = len(signature.inputs)
        inputs = _list(_any([_input(tensor, max_rows) for tensor in signature.inputs]))
        inputs |= {"minItems": count, "maxItems": count}
        outputs = _list(_requested({"enum": [tensor.name for tensor in signature.outputs]}))
        outputs["maxItems"] = len(signature.outputs)
    schema = _object(
        {
            "id": _OPTIONAL_ID,
            "parameters": _parameters({"binary_data_output": _FLAG}),
            "inputs": inputs,
            "outputs": {**outputs, "type": ["array", "null"], "description": "Which, in this order; none = all."},
        },
        required=("inputs",),
    )
    if signature is not None:
        schema["examples"] = [{"inputs": [_example(tensor) for tensor in signature.inputs]}]
    return schema


def _input(tensor: InputTensor | None, max_rows: int | None) -> Schema:
    size = {"binary_data_size": {"type": ["integer", "null"], "minimum": 0}}
    data = {"anyOf": [_input_data(tensor), {"type": "null"}]}
    known = _identity(tensor) if tensor else {"name": _TEXT, "datatype": _DATATYPE}
    shape = _input_shape(tensor.shape, max_rows) if tensor else _list(_COUNT)
    properties = {**known, "shape": shape, "data": data, "parameters": _parameters(size)}
    either = [{"required": ["data"]}, {"required": ["parameters"]}]
    return _object(properties, required=("name", "datatype", "shape")) | {"anyOf": either}


def _input_data(tensor: InputTensor | None) -> Schema:
    if tensor is None:
        return _ref("schemas", "AnyData")
    if tensor.datatype is Datatype.BYTES:
        return _ref("schemas", "Texts")
    if tensor.datatype is Datatype.BOOL:
        return _ref("schemas", "Flags")
    if tensor.datatype.is_integer:
        return _ref("schemas", "WholeNumbers")
    return _ref("schemas", "NumbersOrNulls" if tensor.nullable else "Numbers")


def _response(signature: Signature | None) -> Schema:
    if signature is None:
        output = _output({"name": _TEXT, "datatype": _DATATYPE, "shape": _list(_COUNT)})
    else:
        output = _any([_output(_identity(tensor) | {"shape": _list(_COUNT)}) for tensor in signature.outputs])
    properties = {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "outputs": _list(output)}
    return _object(properties, required=("model_name", "model_version", "outputs"))


def _output(known: Schema) -> Schema:
    """NaN and infinities are null in JSON."""
    size = _object({"binary_data_size": _COUNT})
    data = _list({"type": ["number", "string", "boolean", "null"]})
    return _object({**known, "data": data, "parameters": size}, required=tuple(known))


def _requested(name: Schema) -> Schema:
    return _object({"name": name, "parameters": _parameters({"binary_data": _FLAG})}, required=("name",))


def _parameters(properties: Mapping[str, Schema]) -> Schema:
    return {"type": ["object", "null"], "properties": dict(properties)}


def _identity(tensor: InputTensor | OutputTensor) -> Schema:
    return {"name": {"const": tensor.name}, "datatype": {"const": tensor.datatype.value}}


def _input_shape(shape: Sequence[int], max_rows: int | None) -> Schema:
    sizes: list[Schema] = [_COUNT if size == -1 else {"const": size} for size in shape]
    if shape[0] == -1 and max_rows is not None:
        sizes[0] = {**_COUNT, "maximum": max_rows}
    return {"type": "array", "prefixItems": sizes, "minItems": len(sizes), "maxItems": len(sizes)}


def _example(tensor: InputTensor) -> dict[str, Any]:
    """One row that a model will take."""
    shape = [1 if size == -1 else size for size in tensor.shape]
    data = [_value(tensor)] * math.prod(shape)
    return {"name": tensor.name, "datatype": tensor.datatype.value, "shape": shape, "data": data}


def _value(tensor: InputTensor) -> str | bool | int | float:
    if tensor.datatype is Datatype.BYTES:
        return tensor.categories[0] if tensor.categories else ""
    if tensor.datatype is Datatype.BOOL:
        return True
    value = tensor.minimum if tensor.minimum is not None else min(0.0, tensor.maximum or 0.0)
    return int(value) if tensor.datatype.is_integer else value


def _nested(name: str, element: Schema) -> Schema:
    """Data that is flat, or nested as its shape says."""
    return _list({"anyOf": [element, _ref("schemas", name)]})


def _error(status: str, text: str) -> dict[str, Any]:
    response: dict[str, Any] = {"description": text, "content": _json(_ref("schemas", "Error"))}
    return response | ({"headers": _headers("Retry-After")} if status == "503" else {})


def _errors(statuses: Sequence[str]) -> dict[str, Any]:
    return {status: _ref("responses", status) for status in sorted(statuses)}


def _headers(*names: str) -> dict[str, Any]:
    return {name: _ref("headers", name) for name in names}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _any(schemas: Sequence[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _object(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties if required is None else required),
    }
