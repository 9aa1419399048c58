"""Requests and responses as the application sees them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

JSON: Final = b"application/json"
RETRY_LATER: Final = b"Retry-After: 1\r\n"
TRACEPARENT: Final = b"traceparent"
"""W3C Trace Context: version, trace id, parent id and flags."""

_TRACE: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?")
_GZIP: Final = re.compile(
    rb"(?:^|,)\s*(?:gzip|x-gzip|\*)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[0-9.]+\s*)?(?=,|$)", re.IGNORECASE
)


@dataclass(slots=True)
class Request:
    """One complete request.

    Attributes:
        target: The request target as sent, with its query.
        headers: By lower-case name; of a repeated header the last one.
        announce_keep_alive: Whether the client has to be told that the connection stays (HTTP/1.0).
        received: Reading of `time.monotonic()` when its last byte arrived.
    """

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    received: float
    keep_alive: bool = True
    announce_keep_alive: bool = False

    def accepts_gzip(self) -> bool:
        """Whether the client asks for a compressed answer."""
        return _GZIP.search(self.headers.get(b"accept-encoding", b"")) is not None

    def trace_id(self) -> str | None:
        """Return the id of the trace that the client says the request belongs to."""
        match = _TRACE.fullmatch(self.headers.get(TRACEPARENT, b""))
        return match[1].decode() if match else None

    def trace_header(self) -> bytes:
        """Return the header line that passes a valid trace context on, nothing without one."""
        value = self.headers.get(TRACEPARENT)
        return b"" if value is None or self.trace_id() is None else b"%s: %s\r\n" % (TRACEPARENT, value)


@dataclass(slots=True)
class Response:
    """An answer; `headers` are further header lines, each ending in CRLF."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""


Respond = Callable[[Response], None]


def json_response(content: object, status: int = 200, headers: bytes = b"") -> Response:
    """An answer with a JSON body."""
    return Response(status, orjson.dumps(content), headers=headers)


def problem(status: int, message: str, headers: bytes = b"") -> Response:
    """An error answer with the protocol's body, `{"error": message}`."""
    return json_response({"error": message}, status, headers)
