"""Every endpoint and every row of the error table, over the wire."""

import json
from typing import Any

import pytest

from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors

ONE_ROW = [(1400.0, 7.0, "AA", "EWR")]


def infer_request(rows: Any = ONE_ROW, **fields: Any) -> dict[str, Any]:
    return {"inputs": request_tensors(rows), **fields}


def changed(index: int, **fields: Any) -> dict[str, Any]:
    request = infer_request()
    request["inputs"][index] |= fields
    return request


def without(index: int) -> dict[str, Any]:
    request = infer_request()
    del request["inputs"][index]
    return request


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata_names_the_server_and_its_extensions(server: ServerProcess, path: str) -> None:
    answer = server.request("GET", path)
    assert answer.status == 200
    assert answer.json["name"] == "modelyard"
    assert answer.json["version"]
    assert answer.json["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/flight-delay/ready", {"name": "flight-delay", "ready": True}),
        ("/v2/models/flight-delay/versions/7/ready", {"name": "flight-delay", "ready": True}),
    ],
)
def test_health_is_good_once_loaded(server: ServerProcess, path: str, content: dict[str, Any]) -> None:
    answer = server.request("GET", path)
    assert (answer.status, answer.json) == (200, content)


@pytest.mark.parametrize("path", ["/v2/models/flight-delay", "/v2/models/flight-delay/versions/7"])
def test_model_metadata_is_filled_from_the_signature(server: ServerProcess, path: str) -> None:
    assert server.request("GET", path).json == {
        "name": "flight-delay",
        "versions": ["7"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "distance", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "hour", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "carrier", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "origin", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }


@pytest.mark.parametrize(
    "path",
    ["/v2/models/flight-delay/infer", "/v2/models/flight-delay/versions/7/infer", "/v2/models/flight-delay/infer?a=b"],
)
def test_infer_answers_every_row_with_the_version_and_the_id(server: ServerProcess, path: str) -> None:
    answer = server.request("POST", path, infer_request(EXAMPLE_ROWS, id="request-1"))
    assert answer.status == 200
    assert answer.headers["x-modelyard-model"] == "flight-delay/7"
    content = answer.json
    label, probabilities = content.pop("outputs")
    assert content == {"model_name": "flight-delay", "model_version": "7", "id": "request-1"}
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "INT64", [3])
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP32", [3, 2])
    rows = [probabilities["data"][index : index + 2] for index in (0, 2, 4)]
    assert [sum(row) for row in rows] == pytest.approx([1, 1, 1])
    assert label["data"] == [int(late > 0.5) for _, late in rows]


def test_infer_takes_nested_and_flat_data_alike(server: ServerProcess) -> None:
    flat, nested = infer_request(EXAMPLE_ROWS), infer_request(EXAMPLE_ROWS)
    for tensor in nested["inputs"]:
        tensor["data"] = [[value] for value in tensor["data"]]
    assert server.infer(nested).json == server.infer(flat).json


def test_infer_honours_the_selection_and_order_of_outputs(server: ServerProcess) -> None:
    chosen = server.infer(infer_request(outputs=[{"name": "probabilities"}])).json
    assert [output["name"] for output in chosen["outputs"]] == ["probabilities"]
    turned = server.infer(infer_request(outputs=[{"name": "probabilities"}, {"name": "label"}])).json
    assert [output["name"] for output in turned["outputs"]] == ["probabilities", "label"]


def test_infer_answers_zero_rows_with_empty_outputs(server: ServerProcess) -> None:
    answer = server.infer(infer_request([]))
    assert answer.status == 200
    assert [(output["shape"], output["data"]) for output in answer.json["outputs"]] == [([0], []), ([0, 2], [])]


def test_null_is_a_missing_number_where_the_input_is_nullable(server: ServerProcess) -> None:
    answer = server.infer(infer_request([(None, 18.0, "B6", "LGA")]))
    assert answer.status == 200
    assert None not in answer.json["outputs"][1]["data"]


ERRORS: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "broken JSON": (b'{"inputs": [', "not valid JSON"),
    "no JSON": (b"\xff\xfe", "not valid JSON"),
    "empty body": (b"", "not valid JSON"),
    "JSON but no object": (b"[1]", "must be a JSON object"),
    "NaN literal": (b'{"inputs": [{"data": [NaN]}]}', "not valid JSON"),
    "inputs missing": (b"{}", "inputs: must be a list"),
    "inputs empty": ({"inputs": []}, "inputs: must be a list"),
    "input no object": ({"inputs": [1]}, "inputs[0]: must be an object"),
    "input unknown": (changed(0, name="speed"), "inputs[0].name: must be one of 'distance'"),
    "input missing": (without(1), "inputs: missing 'hour'"),
    "input twice": (changed(1, name="distance"), "'distance' is given twice"),
    "datatype wrong": (changed(0, datatype="FP64"), "inputs[0] 'distance'.datatype: must be 'FP32', got \"FP64\""),
    "width wrong": (changed(0, shape=[1, 2], data=[1, 2]), ".shape: must be [-1, 1]"),
    "rank wrong": (changed(0, shape=[1]), ".shape: must be [-1, 1]"),
    "shape negative": (changed(0, shape=[-1, 1]), ".shape: must be [-1, 1]"),
    "shape of floats": (changed(0, shape=[1.0, 1]), ".shape: must be [-1, 1]"),
    "shape missing": (changed(0, shape=None), ".shape: must be [-1, 1]"),
    "data too long": (changed(0, data=[1, 2]), "shape [1, 1] takes 1 values, got 2"),
    "data too short": (changed(0, data=[]), "shape [1, 1] takes 1 values, got 0"),
    "data nested otherwise": (changed(0, data=[[1], [2]]), "nested as shape [1, 1] says"),
    "data nested too deep": (changed(0, data=[[[1]]]), "must be a number"),
    "data missing": (changed(0, data=None), "either data or parameters.binary_data_size"),
    "data no list": (changed(0, data=5), ".data: must be a list"),
    "text in FP32": (changed(0, data=["12"]), '.data[0]: must be a number or null, got "12"'),
    "true in FP32": (changed(0, data=[True]), ".data[0]: must be a number or null, got true"),
    "null in FP32 not nullable": (changed(1, data=[None]), ".data[0]: must be a number, got null"),
    "FP32 overflow": (changed(0, data=[1e300]), "outside the range of 'FP32'"),
    "number in BYTES": (changed(2, data=[1]), ".data[0]: must be a string, got 1"),
    "null in BYTES": (changed(2, data=[None]), ".data[0]: must be a string, got null"),
    "rows differ": (changed(2, shape=[2, 1], data=["AA", "AA"]), "same number of rows, got 1 and 2"),
    "too many rows": (infer_request(ONE_ROW * 9), "at most 8 rows are allowed, got 9"),
    "output unknown": (infer_request(outputs=[{"name": "x"}]), "outputs[0].name: must be one of 'label'"),
    "output twice": (infer_request(outputs=[{"name": "label"}] * 2), "'label' is given twice"),
    "outputs no list": (infer_request(outputs={}), "outputs: must be a list"),
    "id no string": (infer_request(id=5), "id: must be a string"),
    "parameters no object": (infer_request(parameters=[]), "parameters: must be an object"),
    "classification": (
        infer_request(outputs=[{"name": "label", "parameters": {"classification": 1}}]),
        "outputs[0].parameters.classification: is not supported",
    ),
    "binary announced, none there": (
        changed(0, data=None, parameters={"binary_data_size": 4}),
        "4 bytes of binary data are announced, 0 are there",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_request_is_answered_400_with_the_field_and_what_is_allowed(server: ServerProcess, case: str) -> None:
    body, message = ERRORS[case]
    answer = server.infer(body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    assert message in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/flight-delay/versions/6/infer", 404),
        ("GET", "/v2/models/FLIGHT-DELAY", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("GET", "/v2/models/flight-delay/infer", 405),
        ("DELETE", "/v2", 405),
        ("POST", "/v2/health/ready", 405),
    ],
)
def test_what_is_not_there_is_404_and_a_wrong_method_405(
    server: ServerProcess, method: str, path: str, status: int
) -> None:
    answer = server.request(method, path)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert ("allow" in answer.headers) == (status == 405)


def test_compressed_request_is_answered_415(server: ServerProcess) -> None:
    answer = server.infer(b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert (answer.status, list(answer.json)) == (415, ["error"])


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999", "+1", ""])
def test_bad_inference_header_content_length_is_answered_400(server: ServerProcess, length: str) -> None:
    answer = server.infer(infer_request(), {"Inference-Header-Content-Length": length})
    assert answer.status == 400
    assert "Inference-Header-Content-Length" in answer.json["error"]


def test_binary_data_that_no_input_takes_is_answered_400(server: ServerProcess) -> None:
    header = json.dumps(infer_request()).encode()
    answer = server.infer(header + b"1234", {"Inference-Header-Content-Length": str(len(header))})
    assert answer.status == 400
    assert "4 bytes of binary data belong to no input" in answer.json["error"]
