"""What answers say beside the outputs: which model, which trace, and compressed only when asked."""

import gzip
import json

import pytest

from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LARGE = {"inputs": request_tensors(EXAMPLE_ROWS), "id": "i" * 2000}
SMALL = {"inputs": request_tensors(EXAMPLE_ROWS)}


@pytest.mark.parametrize(
    ("asked", "compressed"),
    [("gzip", True), ("deflate, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_large_answer_is_compressed_only_when_asked(server: ServerProcess, asked: str, compressed: bool) -> None:
    answer = server.infer(LARGE, {"Accept-Encoding": asked})
    assert ("content-encoding" in answer.headers) is compressed
    body = gzip.decompress(answer.body) if compressed else answer.body
    assert json.loads(body)["id"] == LARGE["id"]
    assert answer.headers.get("vary") == ("Accept-Encoding" if compressed else None)


def test_small_answer_is_not_compressed(server: ServerProcess) -> None:
    assert "content-encoding" not in server.infer(SMALL, {"Accept-Encoding": "gzip"}).headers


@pytest.mark.parametrize("body", [SMALL, b"not JSON"])
def test_trace_context_is_passed_on(server: ServerProcess, body: bytes | dict[str, object]) -> None:
    assert server.infer(body, {"traceparent": TRACE}).headers["traceparent"] == TRACE


@pytest.mark.parametrize("trace", ["", "junk", TRACE.upper(), TRACE + "-", TRACE[:-1]])
def test_trace_context_that_is_none_is_ignored(server: ServerProcess, trace: str) -> None:
    answer = server.infer(SMALL, {"traceparent": trace})
    assert answer.status == 200
    assert "traceparent" not in answer.headers


def test_answers_name_the_model(server: ServerProcess) -> None:
    for body in (SMALL, b"not JSON"):
        assert server.infer(body).headers["x-modelyard-model"] == "flight-delay/7"
