"""A client that sends exact bytes, and a listener with an application for tests, on a real uvloop."""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import orjson
import uvloop

from modelyard.serving.http import Connections
from modelyard.serving.limits import Limits
from modelyard.serving.messages import Request, Respond, Response, json_response

DEADLINE = 10.0
BIG = 8 * 1024 * 1024


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _more(self) -> None:
        received = self.socket.recv(65536)
        if not received:
            raise EOFError
        self._buffer += received

    def read(self, *, bodyless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one response."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if bodyless else int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return int(status.split()[1]), headers, body

    def status(self) -> int:
        return self.read()[0]

    def is_closed(self) -> bool:
        """Wait for the server to close; False when it sends something instead."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@dataclass
class EchoApplication:
    """Answers with what it got; some targets behave otherwise."""

    loop: asyncio.AbstractEventLoop
    observed: list[tuple[bytes, int]] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)

    def observe(self, target: bytes, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.observed.append((target, status))

    def answer(self, request: Request, respond: Respond) -> None:
        content = {"method": request.method.decode(), "target": request.target.decode(), "bytes": len(request.body)}
        match request.target:
            case b"/later":
                self.loop.call_later(0.05, respond, json_response(content))
            case b"/held":
                self.held.append(partial(respond, json_response(content)))
            case b"/big":
                respond(Response(200, b"x" * BIG))
            case b"/fail":
                raise ZeroDivisionError
            case _:
                respond(json_response(content))


class EchoServer:
    """Runs the application in a thread of its own."""

    def __init__(self, **limits: Any) -> None:
        self._limits = Limits(**{"body_bytes": 1000, "buffered_bytes": 5000, "sweep_seconds": 0.05, **limits})
        self._started: Future[tuple[EchoApplication, Connections, int]] = Future()
        self._thread = threading.Thread(target=uvloop.run, args=(self._serve(),))
        self.finishing: asyncio.Future[None] | None = None

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._stop = loop, asyncio.Event()
        application = EchoApplication(loop)
        connections = Connections(application, self._limits, loop)
        server = await loop.create_server(connections, "127.0.0.1", 0)
        self._started.set_result((application, connections, server.sockets[0].getsockname()[1]))
        await self._stop.wait()
        server.close()
        await connections.finish(0)

    def __enter__(self) -> Self:
        self._thread.start()
        self.application, self.connections, self.port = self._started.result(DEADLINE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self._stop.set)
        self._thread.join(DEADLINE)

    def call(self, function: Callable[[], object]) -> None:
        """Call something on the loop's thread and wait for it."""

        async def run() -> None:
            function()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(DEADLINE)

    def connect(self) -> Client:
        return Client(self.port)


def get(target: str = "/", *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def post(body: bytes, target: str = "/", *headers: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    return "\r\n".join([f"POST {target} HTTP/1.1", "Host: x", length, *headers, "", ""]).encode() + body


def echoed(response: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    assert response[0] == 200
    content: dict[str, Any] = orjson.loads(response[2])
    return content
