"""A model whose runs take long: they go to the worker, within the deadline and the queue's bound."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.contract.serving.conftest import StartServer
from tests.contract.serving.raw_http import Client, post
from tests.contract.serving.server_process import ServerProcess
from tests.support.waiting import wait_until

PATH = "/v2/models/flight-delay/infer"


def _body(rows: int) -> bytes:
    tensor = {"name": "x", "shape": [rows, 1], "datatype": "FP32", "data": [1.0] * rows}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.fixture(scope="module")
def slow_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that multiplies large matrices, whatever the number of rows."""
    folder = tmp_path_factory.mktemp("slow")
    size, times = 700, 20
    identity = numpy_helper.from_array(np.eye(size, dtype=np.float32), "identity")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["identity", "mean"], ["m0"]),
    ]
    nodes += [helper.make_node("MatMul", ["identity", f"m{index}"], [f"m{index + 1}"]) for index in range(times)]
    nodes += [
        helper.make_node("ReduceMax", [f"m{times}"], ["peak"], keepdims=0),
        helper.make_node("Mul", ["x", "peak"], ["value"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])],
        [identity],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    value = float(session.run(["value"], {"x": np.ones((1, 1), np.float32)})[0][0, 0])
    request = json.loads(_body(1))
    example = request | {"outputs": [{"name": "value", "shape": [1, 1], "datatype": "FP32", "data": [value]}]}
    tensor = {"datatype": "FP32", "shape": [-1, 1]}
    signature = {
        "schema": "modelyard.dev/signature/v1",
        "task": "Regression",
        "inputs": [{"name": "x", **tensor, "kind": "Numeric"}],
        "outputs": [{"name": "value", **tensor}],
    }
    for name, content in {
        "modelyard.json": signature,
        "baseline.json": {"schema": "modelyard.dev/baseline/v1", "rows": 1},
        "examples.json": {"schema": "modelyard.dev/examples/v1", "examples": [example]},
    }.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_long_run_is_answered_while_probes_are(start_server: StartServer, slow_model_dir: Path) -> None:
    server = start_server(slow_model_dir).wait_ready()
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(4)]
        for client in clients:
            client.send(post(_body(2), PATH))
        begin = time.monotonic()
        assert server.request("GET", "/v2/health/live").status == 200
        probe = time.monotonic() - begin
        results = [client.read() for client in clients]
        assert [status for status, _, _ in results] == [200] * 4
        assert json.loads(results[0][2])["outputs"][0]["data"] == pytest.approx([1.0, 1.0])
        assert probe < time.monotonic() - begin


def test_request_that_takes_too_long_is_answered_504_and_the_connection_lives(
    start_server: StartServer, slow_model_dir: Path
) -> None:
    server = start_server(slow_model_dir, MODELYARD_TIMEOUT_SECONDS="0.01").wait_ready()
    with Client(server.port) as client:
        for _ in range(2):
            client.send(post(_body(1), PATH))
            status, _, body = client.read()
            assert (status, json.loads(body)) == (504, {"error": "the request was not answered within 0.01 s"})


def test_more_requests_than_may_wait_are_answered_503(start_server: StartServer, slow_model_dir: Path) -> None:
    server: ServerProcess = start_server(slow_model_dir, MODELYARD_TIMEOUT_SECONDS="1").wait_ready()
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(80)]
        for client in clients:
            client.send(post(_body(1), PATH))
        results = [client.read() for client in clients]
    statuses = {status for status, _, _ in results}
    assert 503 in statuses
    assert statuses <= {200, 503, 504}
    assert all(headers["retry-after"] == "1" for status, headers, _ in results if status == 503)
    page = server.request("GET", "/metrics", port=server.metrics_port).body.decode()
    assert 'outcome="server_error"' in page


def test_drain_waits_for_long_runs(start_server: StartServer, slow_model_dir: Path) -> None:
    server = start_server(slow_model_dir).wait_ready()
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(5)]
        for client in clients:
            client.send(post(_body(1), PATH))
        wait_until(lambda: "in_flight{" in _in_flight(server), seconds=10, what="runs under way")
        server.terminate()
        assert [client.status() for client in clients] == [200] * len(clients)
    assert server.wait() == 0


def _in_flight(server: ServerProcess) -> str:
    page = server.request("GET", "/metrics", port=server.metrics_port).body.decode()
    line = next(line for line in page.splitlines() if line.startswith("modelyard_inference_in_flight{"))
    return "" if line.endswith(" 0.0") else line
