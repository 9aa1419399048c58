"""The Open Inference Protocol over gRPC, as tritonclient and the stubs of health and reflection speak it."""

import contextlib
import json
import random
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from modelyard.serving.rpc import open_inference_pb2
from tests.contract.serving.conftest import StartServer
from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors
from tests.support.waiting import wait_until

SERVICE = "inference.GRPCInferenceService"
TENSORS = request_tensors(EXAMPLE_ROWS[:2])
SECONDS = 10.0


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = {"MODELYARD_MAX_ROWS": "8", "MODELYARD_MAX_REQUEST_BYTES": "65536"}
    process = ServerProcess(model_dir, tmp_path_factory.mktemp("server"), MODELYARD_GRPC_PORT="0", **limits)
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as connected:
        yield connected


@pytest.fixture
def stub(channel: grpc.Channel) -> service_pb2_grpc.GRPCInferenceServiceStub:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as connected:
        yield connected


def _inputs() -> list[triton.InferInput]:
    inputs = []
    for tensor in TENSORS:
        values = np.array(tensor["data"], dtype=np.float32 if tensor["datatype"] == "FP32" else object)
        inputs.append(triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        inputs[-1].set_data_from_numpy(values.reshape(tensor["shape"]))
    return inputs


def _typed() -> Any:
    request = service_pb2.ModelInferRequest(model_name="flight-delay", id="r1")
    for tensor in TENSORS:
        entry = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        if tensor["datatype"] == "FP32":
            entry.contents.fp32_contents.extend(tensor["data"])
        else:
            entry.contents.bytes_contents.extend(text.encode() for text in tensor["data"])
    return request


def _refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def _expected(server: ServerProcess) -> list[Any]:
    outputs: list[dict[str, Any]] = server.infer({"inputs": TENSORS}).json["outputs"]
    return [output["data"] for output in outputs]


def _fields(message: Descriptor) -> dict[str, Any]:
    nested = {part.name: _fields(part) for part in message.nested_types}
    return {field.name: (field.number, field.type, field.label) for field in message.fields} | nested


def test_messages_are_those_that_clients_know() -> None:
    ours, theirs = open_inference_pb2.DESCRIPTOR, service_pb2.DESCRIPTOR
    assert {name: _fields(message) for name, message in ours.message_types_by_name.items()} == {
        name: _fields(theirs.message_types_by_name[name]) for name in ours.message_types_by_name
    }
    assert ours.services_by_name["GRPCInferenceService"].full_name == SERVICE


def test_client_finds_server_and_model(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flight-delay")
    assert client.is_model_ready("flight-delay", "7")
    assert client.get_server_metadata().name == "modelyard"
    metadata = client.get_model_metadata("flight-delay", as_json=True)
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("flight-delay", ["7"], "onnxruntime_onnx")
    assert metadata["inputs"][0] == {"name": "distance", "datatype": "FP32", "shape": ["-1", "1"]}
    assert [output["name"] for output in metadata["outputs"]] == ["label", "probabilities"]


def test_raw_request_is_answered_raw(client: triton.InferenceServerClient, server: ServerProcess) -> None:
    result = client.infer("flight-delay", _inputs(), model_version="7", request_id="r1")
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("flight-delay", "7", "r1")
    assert len(response.raw_output_contents) == 2
    label, probabilities = _expected(server)
    assert result.as_numpy("label").tolist() == label
    assert result.as_numpy("probabilities").shape == (2, 2)
    assert result.as_numpy("probabilities").ravel() == pytest.approx(probabilities)


def test_typed_request_is_answered_typed(
    stub: service_pb2_grpc.GRPCInferenceServiceStub, server: ServerProcess
) -> None:
    response, call = stub.ModelInfer.with_call(_typed(), timeout=SECONDS)
    label, probabilities = _expected(server)
    assert response.id == "r1"
    assert not response.raw_output_contents
    assert list(response.outputs[0].contents.int64_contents) == label
    assert list(response.outputs[1].shape) == [2, 2]
    assert list(response.outputs[1].contents.fp32_contents) == pytest.approx(probabilities)
    assert ("x-modelyard-model", "flight-delay/7") in call.trailing_metadata()


def test_missing_number_is_nan_where_the_input_takes_it(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    request = _typed()
    request.inputs[0].contents.fp32_contents[0] = float("nan")
    assert stub.ModelInfer(request, timeout=SECONDS).outputs
    request.inputs[1].contents.fp32_contents[0] = float("nan")
    code, details = _refusal(lambda: stub.ModelInfer(request, timeout=SECONDS))
    assert (code, details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "inputs[1] 'hour': value 0 is not a finite 'FP32' (the input is not nullable)",
    )


def test_outputs_are_selected_in_their_order(client: triton.InferenceServerClient) -> None:
    outputs = [triton.InferRequestedOutput(name) for name in ("probabilities", "label")]
    response = client.infer("flight-delay", _inputs(), outputs=outputs).get_response()
    assert [output.name for output in response.outputs] == ["probabilities", "label"]
    only = client.infer("flight-delay", _inputs(), outputs=outputs[1:]).get_response()
    assert [output.name for output in only.outputs] == ["label"]


def test_zero_rows_are_answered_with_empty_outputs(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    request = _typed()
    for tensor in request.inputs:
        tensor.shape[0] = 0
        tensor.ClearField("contents")
    response = stub.ModelInfer(request, timeout=SECONDS)
    assert [list(output.shape) for output in response.outputs] == [[0], [0, 2]]


NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "not found: the only model here is 'flight-delay', version '7'")
REFUSED = {
    "model": (lambda call: call.update(model_name="other"), NOT_FOUND[1]),
    "model as a path": (lambda call: call.update(model_name="flight-delay/versions/7"), NOT_FOUND[1]),
    "version": (lambda call: call.update(model_version="8"), NOT_FOUND[1]),
    "input": (
        lambda call: call["inputs"][0].update(name="x"),
        "inputs[0].name: must be one of 'distance', 'hour', 'carrier', 'origin', got \"x\"",
    ),
    "datatype": (
        lambda call: call["inputs"][0].update(datatype="INT64", contents={"int64_contents": [1, 2]}),
        "inputs[0] 'distance'.datatype: must be 'FP32', got \"INT64\"",
    ),
    "unknown datatype": (
        lambda call: call["inputs"][0].update(datatype="COMPLEX"),
        "inputs[0] 'distance'.datatype: must be 'FP32', got \"COMPLEX\"",
    ),
    "shape": (
        lambda call: call["inputs"][0].update(shape=[1, 2]),
        "inputs[0] 'distance'.shape: must be [-1, 1] (-1 is any size), got [1,2]",
    ),
    "negative shape": (
        lambda call: call["inputs"][0].update(shape=[-2, 1]),
        "inputs[0] 'distance'.shape: must be [-1, 1] (-1 is any size), got [-2,1]",
    ),
    "values": (
        lambda call: call["inputs"][0].update(contents={"fp32_contents": [1]}),
        "inputs[0].contents: shape [2, 1] takes 2 values, got 1",
    ),
    "rows": (
        lambda call: call["inputs"][0].update(shape=[1, 1], contents={"fp32_contents": [1]}),
        "inputs[1] 'hour'.shape: all inputs must have the same number of rows, got 1 and 2",
    ),
    "field": (
        lambda call: call["inputs"][0]["contents"].update(int_contents=[1]),
        "inputs[0].contents: 'FP32' must be in fp32_contents, got int_contents",
    ),
    "FP16": (
        lambda call: call["inputs"][0].update(datatype="FP16"),
        "inputs[0].contents: 'FP16' has no typed contents, use raw_input_contents",
    ),
    "integer too large": (
        lambda call: call["inputs"][0].update(datatype="INT8", contents={"int_contents": [1, 128]}),
        "inputs[0].contents: has a number outside the range of 'INT8'",
    ),
    "text": (
        lambda call: call["inputs"][2].update(contents={"bytes_contents": ["QQ==", "/w=="]}),
        "inputs[2] 'carrier': element 1 is not valid UTF-8",
    ),
    "missing input": (lambda call: call["inputs"].pop(), "inputs: missing 'origin'"),
    "output": (
        lambda call: call.update(outputs=[{"name": "x"}]),
        "outputs[0].name: must be one of 'label', 'probabilities', got \"x\"",
    ),
    "parameter": (
        lambda call: call.update(outputs=[{"name": "label", "parameters": {"classification": {"int64_param": 1}}}]),
        "outputs[0].parameters.classification: is not supported",
    ),
    "mixed": (
        lambda call: call.update(raw_input_contents=["QQ=="]),
        "raw_input_contents: inputs must not have contents at the same time",
    ),
    "raw count": (
        lambda call: [tensor.pop("contents") for tensor in call["inputs"]] and call.update(raw_input_contents=["QQ=="]),
        "raw_input_contents: must have one element for each of the 4 inputs, got 1",
    ),
    "raw size": (
        lambda call: (
            [tensor.pop("contents") for tensor in call["inputs"]] and call.update(raw_input_contents=["QQ=="] * 4)
        ),
        "inputs[0] 'distance': shape [2, 1] takes 8 bytes of binary data, got 1",
    ),
}


@pytest.mark.parametrize(("change", "details"), REFUSED.values(), ids=REFUSED)
def test_bad_request_is_refused_as_over_rest(
    stub: service_pb2_grpc.GRPCInferenceServiceStub, change: Callable[[dict[str, Any]], object], details: str
) -> None:
    call = MessageToDict(_typed(), preserving_proto_field_name=True)
    change(call)
    request = ParseDict(call, service_pb2.ModelInferRequest())
    code = NOT_FOUND[0] if details == NOT_FOUND[1] else grpc.StatusCode.INVALID_ARGUMENT
    assert _refusal(lambda: stub.ModelInfer(request, timeout=SECONDS)) == (code, details)


def test_unknown_model_has_neither_readiness_nor_metadata(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    ready, metadata = service_pb2.ModelReadyRequest(name="x"), service_pb2.ModelMetadataRequest(name="x")
    assert _refusal(lambda: stub.ModelReady(ready, timeout=SECONDS)) == NOT_FOUND
    assert _refusal(lambda: stub.ModelMetadata(metadata, timeout=SECONDS)) == NOT_FOUND


def test_more_rows_than_allowed_are_refused(client: triton.InferenceServerClient) -> None:
    inputs = [triton.InferInput("distance", [9, 1], "FP32")]
    inputs[0].set_data_from_numpy(np.ones((9, 1), np.float32))
    with pytest.raises(InferenceServerException, match="at most 8 rows are allowed, got 9"):
        client.infer("flight-delay", inputs)


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    call: Callable[..., bytes] = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    refused = (grpc.StatusCode.INVALID_ARGUMENT, "not a valid ModelInferRequest")
    assert _refusal(lambda: call(b"\xff" * 9, timeout=SECONDS)) == refused


def _mutated(content: bytes, choose: random.Random) -> bytes:
    mutated = bytearray(content)
    for _ in range(choose.choice((1, 1, 2, 4))):
        at = choose.randrange(len(mutated) or 1)
        match choose.randrange(4):
            case 0 | 1:
                mutated[at : at + 1] = choose.choice((b"\x00", b"\x7f", b"\x80", b"\xff", choose.randbytes(1)))
            case 2:
                del mutated[at : at + choose.randrange(1, 6)]
            case _:
                mutated[at:at] = choose.randbytes(choose.randrange(1, 5))
    return bytes(mutated)


def test_mutated_request_is_never_a_fault_of_the_server(channel: grpc.Channel) -> None:
    call: Callable[..., bytes] = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    content, choose = _typed().SerializeToString(), random.Random(7)  # noqa: S311 - test data
    codes = set()
    for _ in range(1000):
        try:
            call(_mutated(content, choose), timeout=SECONDS)
        except grpc.RpcError as error:
            codes.add(error.code())
    assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


def test_method_that_is_not_of_the_protocol_is_unimplemented(channel: grpc.Channel) -> None:
    call: Callable[..., bytes] = channel.unary_unary(f"/{SERVICE}/ModelStreamInfer")
    assert _refusal(lambda: call(b"", timeout=SECONDS))[0] is grpc.StatusCode.UNIMPLEMENTED


def test_too_large_request_is_refused(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    request = _typed()
    request.id = "x" * 65536
    code, details = _refusal(lambda: stub.ModelInfer(request, timeout=SECONDS))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "65536" in details


def test_compressed_request_is_refused(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    request = _typed()
    request.id = "x" * 10000
    call = lambda: stub.ModelInfer(request, timeout=SECONDS, compression=grpc.Compression.Gzip)  # noqa: E731
    assert _refusal(call)[0] is grpc.StatusCode.UNIMPLEMENTED


def test_calls_are_counted_and_timed_like_rest_requests(
    client: triton.InferenceServerClient, server: ServerProcess
) -> None:
    def count(name: str) -> float:
        page = server.request("GET", "/metrics", port=server.metrics_port).body.decode()
        return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))

    names = ("modelyard_inference_rows_total{", "modelyard_inference_request_duration_seconds_count{")
    before = [count(name) for name in names]
    client.infer("flight-delay", _inputs())
    assert [count(name) - was for name, was in zip(names, before, strict=True)] == [2, 1]


def test_health_is_served_for_the_service_and_overall(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="x")
    assert _refusal(lambda: stub.Check(unknown, timeout=SECONDS))[0] is grpc.StatusCode.NOT_FOUND


def test_reflection_describes_the_services(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
            for symbol in (SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
        ),
    ]
    listed, *files = stub.ServerReflectionInfo(iter(asked), timeout=SECONDS)
    assert SERVICE in {service.name for service in listed.list_services_response.service}
    packages = [
        FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0]).package
        for answer in files
    ]
    assert packages == ["inference", "grpc.health.v1", "grpc.reflection.v1alpha"]


def test_server_that_is_not_asked_for_grpc_does_not_load_it(start_server: StartServer) -> None:
    rest = start_server().wait_ready()
    assert rest.logged("listening")["grpc_port"] is None
    assert "/grpc/" not in Path(f"/proc/{rest.process.pid}/maps").read_text()


def test_port_that_is_taken_is_a_clear_end(start_server: StartServer, server: ServerProcess) -> None:
    second = start_server(MODELYARD_GRPC_PORT=str(server.grpc_port))
    assert second.wait() == 1
    assert json.loads(second.termination_log.read_bytes())["reason"] == "AddressUnavailable"


class Route(socketserver.ThreadingTCPServer):
    """A Service in front of servers: sends new connections to the one that it points to."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Forward)
        self.target = port
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()


class Forward(socketserver.BaseRequestHandler):
    server: Route

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.target)) as backend:
            answers = threading.Thread(target=self._copy, args=(backend, self.request))
            answers.start()
            self._copy(self.request, backend)
            answers.join()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


class Load:
    """Calls one after the other over one channel, as long as it is told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.answered = 0
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options=options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not self._stop.is_set():
                try:
                    stub.ModelInfer(_typed(), timeout=SECONDS)
                    self.answered += 1
                except grpc.RpcError as error:
                    self.failures.append(repr(error))

    def stop(self) -> list[str]:
        self._stop.set()
        self._thread.join(SECONDS)
        return self.failures


def test_drain_under_load_fails_no_call_and_exits_0(start_server: StartServer) -> None:
    leaving, staying = (
        start_server(MODELYARD_GRPC_PORT="0", MODELYARD_DRAIN_SECONDS="2").wait_ready() for _ in range(2)
    )
    with Route(leaving.grpc_port) as route:
        loads = [Load(route.server_address[1]) for _ in range(4)]
        wait_until(lambda: all(load.answered > 20 for load in loads), seconds=20, what="load")
        leaving.terminate()
        leaving.wait_logged("draining")
        route.target = staying.grpc_port
        assert leaving.wait() == 0
        before = [load.answered for load in loads]
        wait_until(
            lambda: all(load.answered > count + 20 for load, count in zip(loads, before, strict=True)),
            seconds=20,
            what="calls to the server that stays",
        )
        assert [load.stop() for load in loads] == [[]] * len(loads)
        route.shutdown()


def test_draining_server_reports_that_it_is_not_serving_and_answers(start_server: StartServer) -> None:
    settings = {"MODELYARD_GRPC_PORT": "0", "MODELYARD_DRAIN_SECONDS": "1", "MODELYARD_TIMEOUT_SECONDS": "300"}
    server = start_server(**settings).wait_ready()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        overall = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert overall.status == health_pb2.HealthCheckResponse.NOT_SERVING
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert not stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=SECONDS).ready
        assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=SECONDS).live
        assert stub.ModelInfer(_typed(), timeout=SECONDS).outputs
        assert server.wait() == 0  # the watch does not hold it up


def test_more_calls_than_are_taken_at_a_time_are_refused_and_others_answered(server: ServerProcess) -> None:
    def call(_: int) -> grpc.StatusCode:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=options) as own:
            try:
                service_pb2_grpc.GRPCInferenceServiceStub(own).ModelInfer(_typed(), timeout=SECONDS)
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    with ThreadPoolExecutor(100) as pool:
        codes = set(pool.map(call, range(100)))
    assert grpc.StatusCode.OK in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
