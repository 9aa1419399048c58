"""The gRPC server: the Open Inference Protocol's service, health and reflection in front of the REST application."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import grpc
import orjson
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from typing_extensions import override

from modelyard.serving.errors import StartError
from modelyard.serving.http import Application
from modelyard.serving.messages import TRACEPARENT, Request, Response, problem
from modelyard.serving.rpc import open_inference_pb2 as pb
from modelyard.serving.rpc.translation import METHODS, SERVICE, InvalidMessageError, Method, header_lines
from modelyard.serving.settings import Settings
from modelyard.serving.tls import Tls

CALLS: Final = 64
"""Calls at a time, of all clients together; each has a thread, so that calls can be batched."""
_POLL_SECONDS: Final = 0.02
_IDENTITY_ONLY: Final = 1
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_METADATA: Final = (b"x-modelyard-model", b"retry-after", TRACEPARENT)

_log = logging.getLogger(__name__)


class Calls:
    """Answers calls of the Open Inference Protocol's service, each in a thread that waits for the application.

    Args:
        application: Answers on the event loop's thread.
        wait_seconds: For the application to answer; it has its own, shorter deadline.
    """

    def __init__(self, application: Application, loop: asyncio.AbstractEventLoop, wait_seconds: float) -> None:
        self._application = application
        self._loop = loop
        self._wait_seconds = wait_seconds

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the service as `grpc.Server` takes it, without codecs: a bad message gets our answer."""
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(partial(self._answer, method)) for name, method in METHODS.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _answer(self, method: Method, content: bytes, context: grpc.ServicerContext) -> bytes:
        received = time.monotonic()
        try:
            message = method.request.FromString(content)
            request = method.to_rest(message, received)
            request.headers = {**request.headers, **_trace(context)}
        except DecodeError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a valid {method.request.DESCRIPTOR.name}")
        except InvalidMessageError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = self._ask(request, context.time_remaining())
        headers = header_lines(response)
        context.set_trailing_metadata(tuple((n.decode(), headers[n]) for n in _METADATA if n in headers))
        if response.status not in method.answers:
            code = _CODES.get(response.status, grpc.StatusCode.UNKNOWN)
            context.abort(code, orjson.loads(response.body)["error"])
        return method.to_message(message, response).SerializeToString()

    def _ask(self, request: Request, remaining: float | None) -> Response:
        future: Future[Response] = Future()
        try:
            self._loop.call_soon_threadsafe(self._begin, request, future)
            return future.result(min(self._wait_seconds, self._wait_seconds if remaining is None else remaining))
        except TimeoutError:
            return problem(504, "the call's deadline is over")
        except RuntimeError:
            return problem(503, "the server has stopped")  # the loop is closed

    def _begin(self, request: Request, future: "Future[Response]") -> None:
        def respond(response: Response) -> None:
            if not future.done():
                future.set_result(response)
                self._application.observe(request.target, response.status, time.monotonic() - request.received)

        try:
            self._application.answer(request, respond)
        except Exception:  # noqa: BLE001 - a fault in one answer must not leave the caller waiting
            _log.exception("call failed", extra={"target": request.target.decode("latin-1")})
            respond(problem(500, "internal error"))


def _trace(context: grpc.ServicerContext) -> dict[bytes, bytes]:
    """Return the trace context of a call as the headers of a request."""
    value = dict(context.invocation_metadata()).get(TRACEPARENT.decode(), b"")
    return {TRACEPARENT: value if isinstance(value, bytes) else value.encode()} if value else {}


class _Health(health.HealthServicer):  # type: ignore[misc]  # it comes without types
    """The standard health service, whose watches can be ended: they would hold up the end of a drain."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[Callable[[object], None]] = set()

    @override
    def Watch(self, request: Any, context: grpc.ServicerContext, send_response_callback: Any = None) -> None:
        self._watches.add(send_response_callback)
        context.add_callback(partial(self._watches.discard, send_response_callback))
        super().Watch(request, context, send_response_callback)

    def end_watches(self) -> None:
        for end in tuple(self._watches):
            end(None)


class GrpcServer:
    """A listening gRPC server. Its health is NOT_SERVING until `serve` is called, and again from `drain` on.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, server: grpc.Server, checks: _Health, port: int) -> None:
        self._server = server
        self._health = checks
        self.port = port

    @classmethod
    def open(cls, calls: Calls, settings: Settings, port: int, tls: Tls | None) -> "GrpcServer":
        """Listen on a port.

        Raises:
            StartError: The port cannot be had.
        """
        server = grpc.server(
            ThreadPoolExecutor(CALLS, thread_name_prefix="grpc"),
            handlers=[calls.handlers()],
            maximum_concurrent_rpcs=CALLS,
            options=[
                ("grpc.max_receive_message_length", settings.max_request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", CALLS),
                ("grpc.max_connection_age_ms", _connection_milliseconds(settings.drain_seconds)),
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
                ("grpc.so_reuseport", 0),
            ],
        )
        checks = _Health()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        _reflect(server)
        bind: Callable[[str], int] = server.add_insecure_port
        if tls:
            bind = partial(server.add_secure_port, server_credentials=_credentials(tls))
        address = settings.address or "::"
        try:
            bound = bind(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        except RuntimeError as error:
            raise StartError("AddressUnavailable", f"cannot listen on port {port}: {error}") from None
        opened = cls(server, checks, bound)
        opened._report(health_pb2.HealthCheckResponse.NOT_SERVING)
        server.start()
        return opened

    def serve(self) -> None:
        """From now on report that the server is ready."""
        self._report(health_pb2.HealthCheckResponse.SERVING)

    def drain(self) -> None:
        """From now on report that the server is not ready, but go on answering."""
        self._report(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def close(self, seconds: float) -> None:
        """Stop listening and give the calls under way this long."""
        stopped = self._server.stop(seconds)
        self._health.end_watches()
        while not stopped.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(_POLL_SECONDS)

    def _report(self, status: int) -> None:
        for service in (health.OVERALL_HEALTH, SERVICE):
            self._health.set(service, status)


def _connection_milliseconds(drain_seconds: float) -> int:
    """Return the age at which clients are asked to connect anew.

    That is how they leave a server that drains without a lost call: calls that reach gRPC while it stops are cancelled
    (grpc/grpc#41785), so by then there must be none.
    """
    return int(max(1.0, drain_seconds / 2) * 1000)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Return credentials that present, in every handshake, the key pair of that moment."""
    return grpc.dynamic_ssl_server_credentials(_configuration(tls), partial(_configuration, tls))


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    pair = tls.pair
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)])


def _reflect(server: grpc.Server) -> None:
    pool = pb.DESCRIPTOR.pool
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server, pool=pool)
