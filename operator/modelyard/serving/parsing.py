"""From the bytes of a connection to requests, within limits; no I/O."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

import httptools

from modelyard.serving.limits import Limits
from modelyard.serving.messages import RETRY_LATER, Request, Response, problem

_UPGRADE_HEADERS: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})
# A chunk of one byte costs six on the wire; more framing than this serves nobody.
_FRAMING_PER_BODY_BYTE: Final = 8
_MAX_DIGITS: Final = 18
_HEAD_END: Final = b"\r\n\r\n"
_UNREPEATABLE: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
"""Headers of requests that end otherwise than after a length, or want something before it."""
_MAX_KNOWN: Final = 1024
_MAX_KNOWN_BYTES: Final = 2048


class Receiving(Enum):
    """Which part of a request is due next."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


_NOTHING, _HEAD, _BODY = Receiving  # looking an enumeration's member up takes time


class BodyBudget:
    """How many bytes of request bodies may be held at one time, by all connections together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def take(self, count: int) -> bool:
        """Hold `count` bytes more; False when that is more than the limit (they are held nevertheless)."""
        self.held += count
        return self.held <= self._limit

    def give_back(self, count: int) -> None:
        """Hold `count` bytes less."""
        self.held -= count


class KnownHead(NamedTuple):
    """What httptools made of a head, and how long the body after it is."""

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    body_bytes: int
    announce_keep_alive: bool


class KnownHeads:
    """Heads that httptools has read before, shared by all connections: clients send the same bytes again and again."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}
        self.find: Callable[[bytes], KnownHead | None] = self._heads.get

    def learn(self, head: bytes, known: KnownHead) -> None:
        """Remember a head."""
        if len(self._heads) >= _MAX_KNOWN:
            self._heads.clear()
        if len(head) <= _MAX_KNOWN_BYTES:
            self._heads[head] = known


class RequestParser:
    """Parses one connection's requests.

    Attributes:
        requests: Complete requests, oldest first; the connection takes them from here.
        refusal: The answer to a request that cannot be received; nothing is parsed after it.
        complete: The client said that no request follows.
        receiving: Which part of a request is due next.
        continue_due: The client waits for `100 Continue` before it sends the body.
        target: Of the request being received.
        held: Body bytes taken from the budget and not given back yet.
    """

    def __init__(self, limits: Limits, budget: BodyBudget, known: KnownHeads) -> None:
        self._limits = limits
        self._budget = budget
        self._known = known
        self._parser = httptools.HttpRequestParser(self)
        self.requests: deque[Request] = deque()
        self.refusal: Response | None = None
        self.complete = False
        self.held = 0
        self._begun_in_chunk = False
        self.receiving = _NOTHING
        self._reset()

    def _reset(self) -> None:
        self.target = b""
        self.continue_due = False
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._header_bytes = 0
        self._framing_bytes = 0

    def feed(self, data: bytes) -> None:
        """Parse what arrived; what follows a refused or last request is ignored."""
        if self.complete or self.refusal:
            return
        between_requests = self.receiving is _NOTHING
        if between_requests and self._take_known(data):
            return
        self._begun_in_chunk = False
        before = len(self.requests)
        body_before = self._body_bytes
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError as error:
            if not self.complete:
                self.refuse(400, f"not a valid HTTP request: {error}")
        # Headers that never end reach no callback, so bytes are counted here too. Where a request began within this
        # chunk, its share of the chunk is unknown, but the transport bounds a chunk.
        if self.receiving is not _NOTHING and not self._begun_in_chunk:
            self._framing_bytes += len(data) - (self._body_bytes - body_before)
            if self._framing_bytes > self._limits.header_bytes + _FRAMING_PER_BODY_BYTE * self._body_bytes:
                self._refuse_headers()
        elif between_requests and len(self.requests) == before + 1:
            self._learn(data, self.requests[-1])

    def _take_known(self, data: bytes) -> bool:
        """Take a request that arrived as a whole under a head that is known."""
        body_begin = data.find(_HEAD_END) + len(_HEAD_END)
        known = self._known.find(data[:body_begin])
        if known is None or len(data) - body_begin != known.body_bytes:
            return False
        length = known.body_bytes
        if not self._budget.take(length):
            self._budget.give_back(length)
            return False
        self.held += length
        self.requests.append(
            Request(
                known.method,
                known.target,
                known.headers,
                data[body_begin:],
                time.monotonic(),
                announce_keep_alive=known.announce_keep_alive,
            )
        )
        return True

    def _learn(self, data: bytes, request: Request) -> None:
        """Remember the head of a request that was all that arrived, if all that matters about it is in its bytes."""
        head = data[: len(data) - len(request.body)]
        if (
            request.keep_alive
            and self.receiving is _NOTHING
            and head.endswith(_HEAD_END)
            and head.find(_HEAD_END) == len(head) - len(_HEAD_END)
            and _UNREPEATABLE.isdisjoint(request.headers)
        ):
            known = KnownHead(
                request.method, request.target, request.headers, len(request.body), request.announce_keep_alive
            )
            self._known.learn(head, known)

    def refuse(self, status: int, message: str, headers: bytes = b"") -> None:
        """End parsing with this answer (the first one stays)."""
        if self.refusal is None:
            self.refusal = problem(status, message, headers)
            self._give_back(self._body_bytes)
            target = self.target
            self._reset()
            self.target = target

    def release(self, request: Request) -> None:
        """The request has been answered: its body is no longer held."""
        self._give_back(len(request.body))

    def close(self) -> None:
        """The connection is lost: nothing is held any more."""
        self.requests.clear()
        self._give_back(self.held)

    def _give_back(self, count: int) -> None:
        self.held -= count
        self._budget.give_back(count)

    def _feed(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while rest and not self.refusal:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                self._decline_upgrade()
            else:
                return

    def _decline_upgrade(self) -> None:
        """Receive a request that offers another protocol as if it had not offered it.

        httptools ends such a request after its head, although clients (Java's, `curl --http2`) send the body of an
        HTTP/1.1 request; a new parser gets the same head without the offer.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            self.refuse(400, "CONNECT is not supported")
            return
        head = [b"%s %s HTTP/%s\r\n" % (method, self.target, version.encode())]
        head += [b"%s: %s\r\n" % item for item in self._headers.items() if item[0] not in _UPGRADE_HEADERS]
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"".join([*head, b"\r\n"]))

    # What httptools calls.

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._begun_in_chunk = True
        self.receiving = _HEAD
        self._reset()

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._count_header(len(url))
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after the body a trailer, which means nothing here."""
        self._count_header(len(name) + len(value) + len(b": \r\n"))
        if self.receiving is _HEAD and not self.refusal:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is complete: refuse at once what will not fit."""
        self.receiving = _BODY
        length = self._headers.get(b"content-length", b"0").lstrip(b"0") or b"0"
        if len(length) > _MAX_DIGITS or int(length) > self._limits.body_bytes:
            self._refuse_body()
        if b"transfer-encoding" in self._headers and self._parser.get_http_version() == "1.0":
            self.refuse(400, "Transfer-Encoding: HTTP/1.0 has none")  # a proxy would see another end of the request
        expectation = self._headers.get(b"expect")
        if expectation is not None:
            if expectation.lower() != b"100-continue":
                self.refuse(417, "Expect: only 100-continue is supported")
            self.continue_due = self._parser.get_http_version() != "1.0"

    def on_body(self, chunk: bytes) -> None:
        """A part of the body."""
        if self.refusal:
            return
        self.continue_due = False
        self.held += len(chunk)
        self._body_bytes += len(chunk)
        within_budget = self._budget.take(len(chunk))
        if self._body_bytes > self._limits.body_bytes:
            self._refuse_body()
        elif not within_budget:
            self.refuse(503, "too many request bytes are held at the moment", RETRY_LATER)
        else:
            self._body.append(chunk)

    def on_message_complete(self) -> None:
        """The request is complete, unless it offers an upgrade (see `_decline_upgrade`)."""
        if self.refusal or self._parser.should_upgrade():
            return
        keep_alive = self._parser.should_keep_alive()
        self.complete = not keep_alive
        self.requests.append(
            Request(
                method=self._parser.get_method(),
                target=self.target,
                headers=self._headers,
                body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
                received=time.monotonic(),
                keep_alive=keep_alive,
                announce_keep_alive=b"connection" in self._headers and self._parser.get_http_version() == "1.0",
            )
        )
        self.receiving = _NOTHING
        self.target = b""
        self._body_bytes = 0

    def _count_header(self, length: int) -> None:
        self._header_bytes += length
        if self._header_bytes > self._limits.header_bytes:
            self._refuse_headers()

    def _refuse_headers(self) -> None:
        self.refuse(431, f"the headers are larger than {self._limits.header_bytes} bytes")

    def _refuse_body(self) -> None:
        self.refuse(413, f"the body is larger than {self._limits.body_bytes} bytes")
