"""Fuzz the real server: `python -m tests.contract.serving.fuzz --seconds 600 [--seed N]`.

Nothing that a client sends may lead to a 5xx, a crash, a line in the server's log that says error, a leak, an answer
that is malformed, or one that belongs to another request than its place says.
"""

import argparse
import gzip
import json
import random
import re
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from tests.contract.serving.fuzz_cases import (
    ANY,
    BODY_LIMIT,
    HEAD,
    HIDDEN,
    ROWS_LIMIT,
    Case,
    Cases,
    Model,
    More,
    label_of,
)
from tests.contract.serving.server_process import ServerProcess
from tests.support.waiting import wait_until

ANSWER_SECONDS: Final = 20.0
CLIENTS: Final = 4
SLOW_CLIENTS: Final = 20
SHOWN_BYTES: Final = 4000
GROWTH_BYTES: Final = 24 * 1024 * 1024
"""Of the resident set, from the first quarter of a run to its end: what allocators keep, not what leaks."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [A-Za-z ]+")
_HEADER: Final = re.compile(rb"([A-Za-z-]+): ([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)")


class MalformedError(AssertionError):
    """The server broke a rule."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    label: str


def parse_answers(data: bytes, labels: Sequence[str] = ()) -> list[Answer]:
    """Parse all that a connection has answered, by the letter of HTTP; `labels` says which answers have no body."""
    answers: list[Answer] = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        _check(bool(end), "an answer's head must end")
        line, *lines = head.split(b"\r\n")
        status_line = _STATUS_LINE.fullmatch(line)
        _check(status_line is not None, f"status line {line!r}")
        status = int(status_line[1]) if status_line else 0
        if status == 100:
            _check(not lines, "100 has no headers")
            continue
        _check(not answers or answers[-1].headers.get("connection") != "close", "nothing may follow the last answer")
        headers = _parse_headers(lines)
        length = int(headers["content-length"])
        bodyless = len(answers) < len(labels) and labels[len(answers)] == HEAD
        body, data = (b"", data) if bodyless else (data[:length], data[length:])
        _check(bodyless or len(body) == length, f"the body must have {length} bytes, has {len(body)}")
        answers.append(Answer(status, headers, HEAD if bodyless else label_of(status, _document(headers, body))))
        _check(status < 500 or (status == 503 and "retry-after" in headers), f"answer {status} {body!r}")
    return answers


def _parse_headers(lines: Sequence[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        _check(match is not None, f"header {line!r}")
        if match:
            name = match[1].decode().lower()
            _check(name not in headers, f"header {name} twice")
            headers[name] = match[2].decode()
    _check({"date", "content-type", "content-length"} <= headers.keys(), f"headers {sorted(headers)}")
    return headers


def _document(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    if headers["content-type"] == "application/octet-stream":
        body = body[: int(headers["inference-header-content-length"])]
    document = json.loads(body, parse_constant=_refuse_constant)
    _check(isinstance(document, dict), "an answer is a JSON object")
    return dict(document)


def _refuse_constant(name: str) -> None:
    raise MalformedError(f"{name} is no JSON")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise MalformedError(message)


def check(case: Case, received: bytes) -> list[Answer]:
    """Check all that was answered on a case's connection."""
    answers = parse_answers(received, case.labels)
    labels = [answer.label for answer in answers]
    _check(HIDDEN not in labels, "a hidden request was answered")
    must, further = labels[: len(case.labels)], answers[len(case.labels) :]
    fits = len(must) == len(case.labels) and all(
        wanted in (ANY, found) for wanted, found in zip(case.labels, must, strict=True)
    )
    _check(fits, f"answers must begin with {case.labels}, are {labels}")
    if case.more is More.NOTHING:
        _check(not further, f"answers must be {case.labels}, are {labels}")
    elif case.more is More.ONE_ERROR:
        _check(len(further) == 1 and further[0].status >= 400, f"one error must follow, not {labels}")
    known = [case.ids.index(label) for label in labels if label in case.ids]
    _check(known == sorted(known), f"answers are out of order: {labels}")
    return answers


def converse(port: int, case: Case) -> bytes:
    """Send a case's pieces, close this side, and return all that is answered."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in case.pieces:
            connection.sendall(piece)
        if case.resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b""
        connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        try:
            while more := connection.recv(65536):
                received += more
        except OSError as error:
            raise MalformedError(f"{error!r} after {bytes(received[-SHOWN_BYTES:])!r}") from error
        return bytes(received)


class SlowClients(threading.Thread):
    """Clients that send a byte now and then; each must be told 408 in the end, or is still waiting for more."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__()
        self._port = port
        self._count = count
        self._enough = threading.Event()
        self.timeouts = 0
        self.failure: Exception | None = None

    @override
    def run(self) -> None:
        begins = (
            b"POST /v2/models/m/infer HTTP/1.1\r\nA: ",
            b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n",
            b"GET /",
        )
        clients: dict[socket.socket, bytes] = {}
        try:
            while not self._enough.wait(0.25):
                while len(clients) < self._count:
                    client = socket.create_connection(("127.0.0.1", self._port), ANSWER_SECONDS)
                    client.sendall(begins[len(clients) % len(begins)])
                    client.settimeout(0)
                    clients[client] = b""
                for client in list(clients):
                    if self._is_over(client, clients):
                        client.close()
                        del clients[client]
        except Exception as error:  # noqa: BLE001 - raised again in the thread that checks
            self.failure = error
        finally:
            for client in clients:
                client.close()

    def _is_over(self, client: socket.socket, clients: dict[socket.socket, bytes]) -> bool:
        try:
            received = client.recv(65536)
        except BlockingIOError:
            client.send(b"a")
            return False
        if received:
            clients[client] += received
            return False
        _check([answer.status for answer in parse_answers(clients[client])] == [408], "a slow client is told 408")
        self.timeouts += 1
        return True

    def stop(self) -> None:
        self._enough.set()
        self.join(ANSWER_SECONDS)
        if self.failure:
            raise self.failure


@dataclass
class Report:
    cases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    timeouts: int = 0
    resident: tuple[int, int] = (0, 0)

    @override
    def __str__(self) -> str:
        families = Counter[str]()
        for name, count in self.cases.items():
            families[name.split(":")[0]] += count
        before, after = (size // 1024 for size in self.resident)
        return (
            f"{self.cases.total()} connections {dict(families)}, answers {dict(sorted(self.statuses.items()))}, "
            f"{self.timeouts} slow clients timed out, resident {before} -> {after} KiB"
        )


def fuzz(server: ServerProcess, *, seed: int, seconds: float, count: int | None = None) -> Report:
    """Send cases for some seconds, or `count` of them by each client, and check what is left of the server after it."""
    pid, port = server.process.pid, server.port
    path = "/v2/models/flight-delay"
    model = Model(path, server.request("GET", path).json["inputs"])
    healthy = Cases(random.Random(seed), model)  # noqa: S311 - reproducible
    witness = healthy.witness()
    expected = server.infer(witness).body
    idle = wait_for_descriptors(pid)
    report = Report()
    begin = time.monotonic()
    resident: list[int] = []
    failed = threading.Event()

    def client(number: int) -> None:
        cases = Cases(random.Random(f"{seed}/{number}"), model)  # noqa: S311
        sent = 0
        while not failed.is_set() and time.monotonic() - begin < seconds and (count is None or sent < count):
            case = cases.next()
            sent += 1
            received = b""
            try:
                received = converse(port, case)
                answers = check(case, received)
            except (OSError, ValueError, KeyError, AssertionError) as error:
                failed.set()
                data = b"".join(case.pieces)
                raise AssertionError(
                    f"seed {seed}, client {number}, case {sent} ({case.name}): {error!r}\n"
                    f"sent in {len(case.pieces)} pieces: {data[:SHOWN_BYTES]!r}\nreceived: {received[:SHOWN_BYTES]!r}\n"
                    f"logged: {_complaints(server)[:2]}"
                ) from error
            report.cases[case.name] += 1
            report.statuses.update(answer.status for answer in answers)
            if number == 0 and time.monotonic() - begin > seconds / 4 and not resident:
                resident.append(resident_bytes(pid))

    slow = SlowClients(port, SLOW_CLIENTS)
    slow.start()
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))
    finally:
        slow.stop()
    report.timeouts = slow.timeouts
    assert server.process.poll() is None, "the server ended"
    wait_until(lambda: descriptors(pid) <= idle, seconds=15, what=f"descriptors to be {idle} again")
    report.resident = ((resident or [resident_bytes(pid)])[0], resident_bytes(pid))
    assert report.resident[1] - report.resident[0] < GROWTH_BYTES, str(report)
    assert server.infer(witness).body == expected
    assert not _complaints(server), _complaints(server)[:3]
    return report


def _complaints(server: ServerProcess) -> list[dict[str, Any]]:
    return [line for line in server.log() if line["level"] != "info"]


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def wait_for_descriptors(pid: int) -> int:
    """Return the number of open files once it is at rest."""
    seen = [-1]

    def at_rest() -> bool:
        seen.append(descriptors(pid))
        return seen[-1] == seen[-2]

    wait_until(at_rest, seconds=5, what="open files at rest")
    return seen[-1]


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def start(folder: Path, logs: Path) -> ServerProcess:
    """Start the server with the limits that the cases know."""
    return ServerProcess(
        folder, logs, MODELYARD_MAX_ROWS=str(ROWS_LIMIT), MODELYARD_MAX_REQUEST_BYTES=str(BODY_LIMIT)
    ).wait_ready()


def main() -> None:
    from tests.contract.serving.identity_model import write_identity_model  # noqa: PLC0415 - onnx and scikit-learn
    from tests.contract.serving.small_model import write_small_model  # noqa: PLC0415   are slow to import

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_small_model(folder / "mixed")
        write_identity_model(folder / "numbers", {"x": ("FP32", (-1, 24))}, nullable=True)
        for model in ("mixed", "numbers"):
            (folder / f"{model}-logs").mkdir()
            server = start(folder / model, folder / f"{model}-logs")
            try:
                report = fuzz(server, seed=arguments.seed, seconds=arguments.seconds / 2)
            finally:
                server.stop()
            print(f"{model}, seed {arguments.seed}: {report}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
