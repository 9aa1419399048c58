"""What becomes of a call when the application answers late, badly or not at all."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from typing_extensions import override

from modelyard.serving.http import Application
from modelyard.serving.messages import RETRY_LATER, TRACEPARENT, Request, Respond, json_response, problem
from modelyard.serving.rpc import open_inference_pb2 as pb
from modelyard.serving.rpc.server import Calls, GrpcServer
from modelyard.serving.settings import read_settings

SECONDS = 10.0
SETTINGS = read_settings(
    {
        "MODELYARD_MODEL_NAME": "m",
        "MODELYARD_MODEL_VERSION": "7",
        "MODELYARD_MODEL_DIGEST": "sha256:" + "0" * 64,
        "MODELYARD_DEPLOYMENT": "d",
        "MODELYARD_ADDRESS": "127.0.0.1",
    }
)


class Scripted(Application):
    """Answers each request as the metadata of the call say."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.observed: list[tuple[bytes, int]] = []

    @override
    def answer(self, request: Request, respond: Respond) -> None:
        self.asked.append(request)
        what = request.target.rpartition(b"/")[2].decode()
        if what == "fault":
            raise ZeroDivisionError
        if what == "meta":
            respond(json_response({"name": "m"}, headers=b"traceparent: 00-1\r\nX-Other: 1\r\n"))
        elif what != "silence":
            respond(problem(int(what), "because", RETRY_LATER))

    @override
    def observe(self, target: bytes, status: int, seconds: float) -> None:
        self.observed.append((target, status))


@contextmanager
def serving(application: Application, wait_seconds: float = SECONDS) -> Iterator[grpc.Channel]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = GrpcServer.open(Calls(application, loop, wait_seconds), SETTINGS, 0, None)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
    finally:
        asyncio.run_coroutine_threadsafe(server.close(1), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


def ask(channel: grpc.Channel, what: str, timeout: float = SECONDS) -> grpc.RpcError:
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelMetadata",
        request_serializer=pb.ModelMetadataRequest.SerializeToString,
        response_deserializer=pb.ModelMetadataResponse.FromString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        call(pb.ModelMetadataRequest(name=what), timeout=timeout)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400", grpc.StatusCode.INVALID_ARGUMENT),
        ("404", grpc.StatusCode.NOT_FOUND),
        ("413", grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("500", grpc.StatusCode.INTERNAL),
        ("503", grpc.StatusCode.UNAVAILABLE),
        ("504", grpc.StatusCode.DEADLINE_EXCEEDED),
        ("418", grpc.StatusCode.UNKNOWN),
    ],
)
def test_status_becomes_a_code_and_the_error_its_details(status: str, code: grpc.StatusCode) -> None:
    application = Scripted()
    with serving(application) as channel:
        error = ask(channel, status)
    assert (error.code(), error.details()) == (code, "because")
    assert ("retry-after", "1") in error.trailing_metadata()
    assert application.observed == [(b"/v2/models/" + status.encode(), int(status))]


def test_fault_of_the_application_is_internal() -> None:
    with serving(Scripted()) as channel:
        error = ask(channel, "fault")
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")


def test_application_that_does_not_answer_is_not_waited_for() -> None:
    with serving(Scripted(), wait_seconds=0.05) as channel:
        error = ask(channel, "silence")
    assert (error.code(), error.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "the call's deadline is over")


def test_deadline_of_the_client_frees_the_thread() -> None:
    with serving(Scripted()) as channel:
        for _ in range(100):  # more than there are threads
            assert ask(channel, "silence", timeout=0.01).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert ask(channel, "404").code() is grpc.StatusCode.NOT_FOUND


def test_trace_context_is_passed_in_and_out() -> None:
    application = Scripted()
    with serving(application) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelMetadata",
            request_serializer=pb.ModelMetadataRequest.SerializeToString,
            response_deserializer=pb.ModelMetadataResponse.FromString,
        )
        metadata = [("traceparent", "00-1")]
        _, done = call.with_call(pb.ModelMetadataRequest(name="meta"), timeout=SECONDS, metadata=metadata)
    assert application.asked[0].headers[TRACEPARENT] == b"00-1"
    assert [tuple(pair) for pair in done.trailing_metadata()] == [("traceparent", "00-1")]
