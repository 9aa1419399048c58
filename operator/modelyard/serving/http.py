"""An asyncio protocol for HTTP/1.1: keep-alive, pipelining in order, back-pressure, and a time limit on every wait.

A connection answers one request at a time, in the order of arrival. It knows nothing about inference: an `Application`
answers requests and observes every answer, also those given here.
"""

import asyncio
import contextlib
import logging
import math
import time
from enum import Enum, auto
from typing import Final, Protocol, cast

from typing_extensions import override

from modelyard.serving.limits import Limits
from modelyard.serving.messages import RETRY_LATER, Request, Respond, Response, problem
from modelyard.serving.parsing import BodyBudget, KnownHeads, Receiving, RequestParser

_PHRASES: Final = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
# Requests that are on their way when idle connections are about to be closed get this long to arrive.
_ARRIVING_SECONDS: Final = 0.05
_MAX_HEADS: Final = 100
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"

_log = logging.getLogger(__name__)


class Application(Protocol):
    """What a listener serves."""

    def answer(self, request: Request, respond: Respond) -> None:
        """Answer `request` by calling `respond` once, now or later, on the event loop's thread."""

    def observe(self, target: bytes, status: int, seconds: float) -> None:
        """Note an answer and the time since the request's last byte; `target` is empty where it is not known."""


class _Phase(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()
    WRITING = auto()
    ENDING = auto()


_RECEIVING: Final = {Receiving.NOTHING: _Phase.IDLE, Receiving.HEAD: _Phase.HEAD, Receiving.BODY: _Phase.BODY}


class Connections:
    """What the connections of one listener share: the application, the limits, the clock that ends waiting."""

    def __init__(self, application: Application, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.application = application
        self.limits = limits
        self.loop = loop
        self.draining = False
        self.budget = BodyBudget(limits.buffered_bytes)
        self.known_heads = KnownHeads()
        self.seconds = {
            _Phase.IDLE: limits.idle_seconds,
            _Phase.HEAD: limits.header_seconds,
            _Phase.BODY: limits.body_seconds,
            _Phase.ANSWERING: math.inf,  # the application's own deadline holds
            _Phase.WRITING: limits.write_seconds,
            _Phase.ENDING: limits.linger_seconds,
        }
        self._open: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._heads: dict[tuple[int, bytes, bytes], bytes] = {}
        self._timer = loop.call_later(limits.sweep_seconds, self._sweep)

    def __call__(self) -> "Connection":
        """Make the protocol of a new connection (the factory that `loop.create_server` takes)."""
        return Connection(self)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: "Connection") -> bool:
        """Register a connection; at the limit the longest idle one makes room. False when there is none."""
        room = len(self._open) < self.limits.connections
        if not room:
            idle = [other for other in self._open if other.phase is _Phase.IDLE]
            if idle:
                min(idle, key=lambda other: other.since).close()
                room = True
        self._open.add(connection)
        self._empty.clear()
        return room

    def forget(self, connection: "Connection") -> None:
        """Drop a lost connection."""
        self._open.discard(connection)
        if not self._open:
            self._empty.set()

    def head(self, response: Response) -> bytes:
        """Return an answer's head up to the value of its `Content-Length`."""
        key = (response.status, response.content_type, response.headers)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            head = self._heads[key] = b"HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\n%sContent-Length: " % (
                response.status,
                _PHRASES[response.status],
                _http_date(),
                response.content_type,
                response.headers,
            )
        return head

    def drain(self) -> None:
        """From now on every answer ends its connection."""
        self.draining = True

    async def finish(self, seconds: float) -> None:
        """Close idle connections, wait for the answers under way, and cut off what is left after `seconds`."""
        self.drain()
        if self._open and seconds > 0:
            await asyncio.sleep(_ARRIVING_SECONDS)
        for connection in list(self._open):
            if connection.phase is _Phase.IDLE:
                connection.close()
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        if self._open:
            _log.warning("connections cut off", extra={"connections": len(self._open)})
        self.abort()

    def abort(self) -> None:
        """Cut off every connection and stop the clock."""
        self._timer.cancel()
        for connection in list(self._open):
            connection.abort()

    def _sweep(self) -> None:
        self._heads.clear()  # they hold the date
        now = time.monotonic()  # the loop's own clock stands still within a tick
        for connection in list(self._open):
            if now - connection.since >= self.seconds[connection.phase]:
                connection.expire()
        self._timer = self.loop.call_later(self.limits.sweep_seconds, self._sweep)


class Connection(asyncio.Protocol):
    """One client connection.

    Attributes:
        since: When it entered the phase in which it is, a reading of `time.monotonic()`.
    """

    def __init__(self, shared: Connections) -> None:
        self._shared = shared
        self._parser = RequestParser(shared.limits, shared.budget, shared.known_heads)
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None
        self._advancing = False
        self._write_paused = False
        self._read_paused = False
        self._half_closed = False
        self._ending = False
        self.since = time.monotonic()

    # What the transport calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._shared.admit(self):
            self._parser.refuse(503, "too many connections", RETRY_LATER)
        self._advance()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._parser.close()
        self._shared.forget(self)

    @override
    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        parser = self._parser
        before = parser.receiving
        parser.feed(data)
        if parser.receiving is not before and self._request is None:
            self.since = time.monotonic()
        if parser.requests or parser.refusal or parser.continue_due:
            self._advance()

    @override
    def eof_received(self) -> bool:
        self._half_closed = True
        return not self._ending and (self._request is not None or bool(self._parser.requests))

    @override
    def pause_writing(self) -> None:
        self._write_paused = True
        self.since = time.monotonic()

    @override
    def resume_writing(self) -> None:
        self._write_paused = False
        self.since = time.monotonic()
        self._advance()

    # Answering.

    def _advance(self) -> None:
        """Do whatever the state allows: answer, refuse, invite a body, stop or go on reading."""
        if self._advancing or self._ending or self._transport is None:
            return
        parser = self._parser
        requests = parser.requests
        self._advancing = True
        while requests and not (self._request or self._write_paused or self._ending):
            self._begin(requests.popleft())
        self._advancing = False
        if not (self._request or requests or self._ending):
            if parser.refusal:
                self._write_refusal(parser.refusal)
            elif parser.continue_due:
                parser.continue_due = False
                self._transport.write(_CONTINUE)
        if self._read_paused or len(requests) >= self._shared.limits.pipelined:
            self._throttle(self._transport)

    def _begin(self, request: Request) -> None:
        self._request = request
        try:
            self._shared.application.answer(request, self._respond)
        except Exception:  # noqa: BLE001 - a fault in one answer must not end the connection
            _log.exception("request failed", extra={"target": request.target.decode("latin-1")})
            self._respond(problem(500, "internal error"))

    def _respond(self, response: Response) -> None:
        request, shared, parser = self._request, self._shared, self._parser
        if self._transport is None or request is None:
            return
        self._request = None
        parser.release(request)
        last = not parser.requests and (parser.complete or self._half_closed or shared.draining)
        connection = _CLOSE if last else _KEEP_ALIVE if request.announce_keep_alive else b""
        self._write(response, connection, with_body=request.method != b"HEAD")
        self.since = now = time.monotonic()
        shared.application.observe(request.target, response.status, now - request.received)
        if last:
            self._end()
        elif parser.requests or parser.refusal or parser.continue_due:
            self._advance()

    def _write_refusal(self, response: Response) -> None:
        self._write(response, _CLOSE, with_body=True)
        self._shared.application.observe(self._parser.target, response.status, 0.0)
        self._end()

    def _write(self, response: Response, connection: bytes, *, with_body: bool) -> None:
        body = response.body
        cast("asyncio.Transport", self._transport).write(
            b"%s%d\r\n%s\r\n%s" % (self._shared.head(response), len(body), connection, body if with_body else b"")
        )

    def _end(self) -> None:
        """Send nothing more, but go on reading, else a reset could take the last answer from the client."""
        self._ending = True
        self.since = time.monotonic()
        transport = cast("asyncio.Transport", self._transport)
        if self._half_closed or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()
        self._throttle(transport)

    def _throttle(self, transport: asyncio.Transport) -> None:
        pause = not self._ending and len(self._parser.requests) >= self._shared.limits.pipelined
        if pause is not self._read_paused and not transport.is_closing():
            self._read_paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()

    # Time.

    @property
    def phase(self) -> _Phase:
        """What the connection waits for."""
        if self._write_paused:
            return _Phase.WRITING
        if self._ending:
            return _Phase.ENDING
        if self._request or self._parser.requests:
            return _Phase.ANSWERING
        return _RECEIVING[self._parser.receiving]

    # Time.

    def expire(self) -> None:
        """The time of the current phase is over."""
        phase = self.phase
        if phase in {_Phase.HEAD, _Phase.BODY}:
            self._parser.refuse(408, f"the {phase.name.lower()} of the request did not arrive in time")
            self._advance()
        elif phase is _Phase.IDLE:
            self.close()
        else:
            self.abort()

    def close(self) -> None:
        """Close after what is written has been sent."""
        self._ending = True
        self.since = time.monotonic()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


def _http_date() -> bytes:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
