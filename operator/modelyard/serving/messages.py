"""Requests and responses as the application sees them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

JSON: Final = b"application/json"
RETRY_LATER: Final = b"Retry-After: 1\r\n"


@dataclass(slots=True)
class Request:
    """One complete request.

    Attributes:
        target: The request target as sent, with its query.
        headers: By lower-case name; of a repeated header the last one.
        received: Reading of `time.monotonic()` when its last byte arrived.
    """

    method: bytes
    target: bytes
    version: str
    headers: Mapping[bytes, bytes]
    body: bytes
    keep_alive: bool
    received: float


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
