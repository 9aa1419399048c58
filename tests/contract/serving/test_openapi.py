"""The OpenAPI document that the server itself serves, and what schemathesis makes of it."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from modelyard.serving.openapi import api_document
from tests.contract.serving.api_fuzz import run_schemathesis
from tests.contract.serving.server_process import ServerProcess


@pytest.fixture
def document(server: ServerProcess) -> dict[str, Any]:
    answer = server.request("GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    served: dict[str, Any] = answer.json
    return served


def validate(document: dict[str, Any], schema: dict[str, Any], content: object) -> None:
    jsonschema_rs.validate({**schema, "components": {"schemas": document["components"]["schemas"]}}, content)


def test_document_is_that_of_the_served_model(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == set(api_document("flight-delay", "7")["paths"])
    request = document["components"]["schemas"]["InferenceRequest"]["properties"]["inputs"]
    names = [option["properties"]["name"]["const"] for option in request["items"]["anyOf"]]
    assert names == ["distance", "hour", "carrier", "origin"]
    assert request["items"]["anyOf"][0]["properties"]["shape"]["prefixItems"][0]["maximum"] == 8


def test_example_of_the_document_is_answered(server: ServerProcess, document: dict[str, Any]) -> None:
    (example,) = document["components"]["schemas"]["InferenceRequest"]["examples"]
    answer = server.infer(example)
    assert answer.status == 200
    validate(document, {"$ref": "#/components/schemas/InferenceResponse"}, answer.json)


def test_every_described_get_is_answered_as_described(server: ServerProcess, document: dict[str, Any]) -> None:
    gets = {path: item["get"] for path, item in document["paths"].items() if "get" in item}
    assert len(gets) == 9
    for path, operation in gets.items():
        answer = server.request("GET", path)
        assert answer.status == 200
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        validate(document, schema, answer.json)


def test_schemathesis_finds_nothing(server: ServerProcess, tmp_path: Path) -> None:
    report = run_schemathesis(server, tmp_path, seed=7, examples=50, seconds=None)
    assert "Selected: 10/10" in report
    assert not [line for line in server.log() if line["level"] == "error"]
