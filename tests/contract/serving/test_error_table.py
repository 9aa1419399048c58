"""What clients get wrong and servers answer in different ways: what this one answers."""

from typing import Any

import pytest

from tests.contract.serving.server_process import Answer, ServerProcess
from tests.contract.serving.small_model import request_tensors

ROWS: list[tuple[float | None, float, str, str]] = [(1400.0, 7.0, "AA", "EWR")]
PATH = "/v2/models/flight-delay/infer"


def request(**fields: Any) -> dict[str, Any]:
    return {"inputs": request_tensors(ROWS), **fields}


def with_input(index: int, **fields: Any) -> dict[str, Any]:
    changed = request()
    changed["inputs"][index] |= fields
    return changed


def outputs(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json["outputs"]
    return found


REFUSED: dict[str, tuple[str, bytes | dict[str, Any], int]] = {
    "unknown model": ("/v2/models/other/infer", request(), 404),
    "broken JSON": (PATH, b'{"inputs": [', 400),
    "missing inputs": (PATH, {}, 400),
    "wrong input name": (PATH, with_input(0, name="Distance"), 400),
    "wrong datatype": (PATH, with_input(0, datatype="FP64"), 400),
    "wrong width": (PATH, with_input(0, shape=[1, 2], data=[1, 2]), 400),
    "text in FP32": (PATH, with_input(0, data=["far"]), 400),
    "shape does not match data": (PATH, with_input(0, shape=[1, 1], data=[1, 2, 3]), 400),
    "unknown requested output": (PATH, request(outputs=[{"name": "colour"}]), 400),
    "null in FP32 data": (PATH, with_input(1, data=[None]), 400),
    "other version": ("/v2/models/flight-delay/versions/8/infer", request(), 404),
}


@pytest.mark.parametrize("row", REFUSED)
def test_mistake_of_a_client_is_answered_with_its_status_and_an_error(server: ServerProcess, row: str) -> None:
    path, body, status = REFUSED[row]
    answer = server.request("POST", path, body)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    assert answer.json["error"]


def test_selection_of_outputs_is_honoured(server: ServerProcess) -> None:
    chosen = outputs(server.infer(request(outputs=[{"name": "probabilities"}])))
    assert [output["name"] for output in chosen] == ["probabilities"]


def test_nested_data_is_taken(server: ServerProcess) -> None:
    assert outputs(server.infer(with_input(0, data=[[1400.0]]))) == outputs(server.infer(request()))


def test_null_is_a_missing_number_where_the_model_says_so(server: ServerProcess) -> None:
    assert None not in outputs(server.infer(with_input(0, data=[None])))[1]["data"]


def test_zero_rows_are_answered_with_empty_outputs(server: ServerProcess) -> None:
    empty = outputs(server.infer({"inputs": request_tensors([])}))
    assert [(output["shape"], output["data"]) for output in empty] == [([0], []), ([0, 2], [])]


def test_metadata_has_the_inputs_and_outputs_of_the_graph(server: ServerProcess) -> None:
    metadata = server.request("GET", "/v2/models/flight-delay").json
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["distance", "hour", "carrier", "origin"]
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["label", "probabilities"]


def test_version_in_the_path_is_answered_when_it_is_the_served_one(server: ServerProcess) -> None:
    assert outputs(server.request("POST", "/v2/models/flight-delay/versions/7/infer", request()))
