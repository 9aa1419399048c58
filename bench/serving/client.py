"""A plain HTTP/1.1 client under which nothing may break: keep-alive connections, one request after another on each."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.serving.servers import PATH
from bench.serving.workloads import Message

_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.01
_MAX_HEAD: Final = 65536
_OK: Final = 200


class BrokenAnswerError(Exception):
    """An answer that is not whole, or not HTTP."""


@dataclass
class Outcome:
    """How many requests were answered well, and what became of the others."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Head:
    """What the head of an answer says."""

    status: int
    length: int
    close: bool


def parse_head(data: bytes) -> Head:
    """Read status line and headers.

    Raises:
        BrokenAnswerError: they are not those of an answer with a length.
    """
    lines = data.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    status, length = rest[:3], headers.get("content-length", "")
    if not version.startswith("HTTP/1.") or not status.isdecimal() or not length.isdecimal():
        raise BrokenAnswerError(f"not an answer with a length: {data[:200]!r}")
    return Head(int(status), int(length), headers.get("connection", "").lower() == "close")


def request_bytes(message: Message) -> bytes:
    headers = {"Host": "bench", "Content-Length": str(len(message.body)), **message.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode() + message.body


class Client:
    """Connections that ask whoever `target` names when they connect, until told to stop.

    As any HTTP client it connects anew when an answer says `Connection: close`. Everything else counts as a failure: a
    connection refused, reset or ended before an answer was whole, any status but 200, no answer in time. Nothing is
    retried in silence.
    """

    def __init__(self, request: bytes, target: Callable[[], int]) -> None:
        self._request = request
        self._target = target
        self._stopping = False
        self.outcome = Outcome()

    async def drive(self, connections: int) -> None:
        """Send requests one after another on each connection, until `stop`."""
        await asyncio.gather(*(self._drive_one() for _ in range(connections)))

    def stop(self) -> None:
        """Send nothing more once the requests under way are answered."""
        self._stopping = True

    async def _drive_one(self) -> None:
        while not self._stopping:
            try:
                await self._use_connection()
            except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, BrokenAnswerError) as error:
                self.outcome.failed[type(error).__name__] += 1
                await asyncio.sleep(_RETRY_SECONDS)

    async def _use_connection(self) -> None:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target(), limit=_MAX_HEAD)
        try:
            again = True
            while again and not self._stopping:
                async with asyncio.timeout(_SECONDS):
                    again = await self._ask(reader, writer)
        finally:
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; returns whether the connection can be used again."""
        writer.write(self._request)
        head = parse_head((await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n"))
        await reader.readexactly(head.length)
        if head.status == _OK:
            self.outcome.answered += 1
        else:
            self.outcome.failed[f"status {head.status}"] += 1
        return not head.close
