"""HTTP/1.1 at its edges, byte by byte, on a real uvloop and real sockets."""

import asyncio
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.contract.serving.raw_http import BIG, Client, EchoServer, echoed, get, post
from tests.support.waiting import wait_until

CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[EchoServer]:
    with EchoServer() as running:
        yield running


@pytest.fixture
def client(server: EchoServer) -> Iterator[Client]:
    with server.connect() as connected:
        yield connected


def still_answers(client: Client) -> bool:
    client.send(get("/still"))
    return bool(echoed(client.read())["target"] == "/still")


def let_pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, seconds=seconds + 5, what="time to pass")


def test_connection_is_kept_and_answers_carry_a_date(client: Client) -> None:
    client.send(get("/1"))
    _, headers, _ = client.read()
    assert headers["date"].endswith(" GMT")
    assert "connection" not in headers
    assert still_answers(client)


def test_pipelined_requests_are_answered_in_order_also_when_the_first_takes_longest(client: Client) -> None:
    client.send(get("/later") + post(b"abc", "/2") + get("/3"))
    assert [echoed(client.read())["target"] for _ in range(3)] == ["/later", "/2", "/3"]


def test_many_more_pipelined_requests_than_may_wait_are_all_answered(client: Client) -> None:
    count = 2000
    client.send(get("/later") + b"".join(get(f"/{index}") for index in range(count)))
    assert echoed(client.read())["target"] == "/later"
    assert [echoed(client.read())["target"] for _ in range(count)] == [f"/{index}" for index in range(count)]


def test_request_may_arrive_byte_by_byte(client: Client) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in post(b"hello", "/slow", "X-A: b"):
        client.send(bytes([byte]))
    assert echoed(client.read()) == {"method": "POST", "target": "/slow", "bytes": 5}


def test_chunked_body_with_extensions_and_trailers_is_taken(client: Client) -> None:
    client.send(CHUNKED + b"2;a=b\r\nhi\r\n3\r\nyou\r\n0\r\nExpect: magic\r\n\r\n" + get("/next"))
    assert echoed(client.read())["bytes"] == 5
    assert echoed(client.read())["target"] == "/next"


def test_expect_continue_is_invited(client: Client) -> None:
    head, body = post(b"x" * 10, "/e", "Expect: 100-Continue").split(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.status() == 100
    client.send(body)
    assert echoed(client.read())["bytes"] == 10
    assert still_answers(client)


def test_expect_continue_behind_a_request_is_invited_after_its_answer(client: Client) -> None:
    head, body = post(b"x" * 10, "/e", "Expect: 100-continue").split(b"\r\n\r\n")
    client.send(get("/later") + head + b"\r\n\r\n")
    assert echoed(client.read())["target"] == "/later"
    assert client.status() == 100
    client.send(body)
    assert echoed(client.read())["bytes"] == 10


def test_expect_continue_with_a_body_too_large_is_refused_before_the_body(client: Client) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    assert client.status() == 413
    assert client.is_closed()


def test_unknown_expectation_is_refused(client: Client) -> None:
    client.send(get("/", "Expect: magic"))
    assert client.status() == 417


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_connection_ends_when_the_client_says_so(client: Client, version: str) -> None:
    client.send(get("/", "Connection: close", version=version))
    _, headers, _ = client.read()
    assert headers["connection"] == "close"
    assert client.is_closed()


def test_http_1_0_is_kept_alive_only_on_demand(server: EchoServer) -> None:
    with server.connect() as client:
        client.send(get("/", version="1.0"))
        assert client.status() == 200
        assert client.is_closed()
    with server.connect() as client:
        client.send(get("/", "Connection: keep-alive", version="1.0"))
        _, headers, _ = client.read()
        assert headers["connection"] == "keep-alive"
        assert still_answers(client)


def test_head_is_answered_without_a_body(client: Client) -> None:
    client.send(get("/h").replace(b"GET", b"HEAD"))
    status, headers, _ = client.read(bodyless=True)
    assert (status, int(headers["content-length"]) > 0) == (200, True)
    assert still_answers(client)


def test_client_that_has_closed_its_side_gets_its_answers(client: Client) -> None:
    client.send(get("/later") + get("/2"))
    client.socket.shutdown(socket.SHUT_WR)
    assert [echoed(client.read())["target"] for _ in range(2)] == ["/later", "/2"]
    assert client.is_closed()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_offer_of_http_2_is_declined_and_the_request_answered(client: Client, method: str) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    body = b"hello" if method == "POST" else b""
    request = post(body, "/u", *upgrade).replace(b"POST", method.encode())
    client.send(request * 2)
    assert echoed(client.read()) == {"method": method, "target": "/u", "bytes": len(body)}
    assert echoed(client.read())["target"] == "/u"
    assert still_answers(client)


def test_fault_in_the_application_is_answered_500_and_the_connection_lives(client: Client) -> None:
    client.send(get("/fail"))
    status, _, body = client.read()
    assert (status, body) == (500, b'{"error":"internal error"}')
    assert still_answers(client)


MALFORMED = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\xfc\x03",
    "unknown method": b"FOO / HTTP/1.1\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "connect": b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "length and chunked": b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "negative length": b"POST / HTTP/1.1\r\nContent-Length: -2\r\n\r\n",
    "endless length": b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "unknown transfer coding": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "bad chunk size": CHUNKED + b"xyz\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_request_is_answered_400_after_the_good_one_before_it(client: Client, case: str) -> None:
    client.send(get("/later") + MALFORMED[case])
    assert echoed(client.read())["target"] == "/later"
    status, headers, body = client.read()
    assert (status, headers["connection"]) == (400, "close")
    assert body.startswith(b'{"error":')
    assert client.is_closed()


def test_bytes_after_the_last_request_are_ignored(client: Client) -> None:
    client.send(get("/", "Connection: close") + get("/more"))
    assert client.status() == 200
    assert client.is_closed()


TOO_LARGE = {
    "announced body": (413, b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n"),
    "announced body, sent": (413, post(b"x" * 300_000)),
    "chunked body": (413, CHUNKED + b"200\r\n" + b"x" * 512 + b"\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n"),
    "one header": (431, get("/", "A: " + "x" * 40_000)),
    "many headers": (431, get("/", *(f"A{index}: {'x' * 100}" for index in range(400)))),
    "target": (431, get("/" + "x" * 40_000)),
    "header without an end": (431, b"GET / HTTP/1.1\r\nA: " + b"x" * 600_000),
    "trailer without an end": (431, CHUNKED + b"0\r\nA: " + b"x" * 600_000),
    "chunk extension without an end": (431, CHUNKED + b"5;" + b"x" * 600_000),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_is_too_large_is_refused_and_the_client_can_read_why(client: Client, case: str) -> None:
    status, request = TOO_LARGE[case]
    client.send(request)
    found, headers, body = client.read()
    assert (found, headers["connection"]) == (status, "close")
    assert b"larger than" in body
    assert client.is_closed()


def test_client_that_sends_all_of_a_body_too_large_can_still_read_why(client: Client) -> None:
    client.send(post(b"x" * 20_000_000))
    assert client.status() == 413


def test_body_of_exactly_the_limit_is_taken(client: Client) -> None:
    client.send(post(b"x" * 1000))
    assert echoed(client.read())["bytes"] == 1000


def test_answers_given_by_the_protocol_are_observed_too(server: EchoServer, client: Client) -> None:
    client.send(b"POST /observed HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
    assert client.status() == 413
    assert (b"/observed", 413) in server.application.observed


def test_random_bytes_never_stop_the_server(server: EchoServer) -> None:
    source = random.Random(7)  # noqa: S311 - reproducible noise
    valid = post(b"hello", "/x", "Expect: 100-continue") + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + get("/later")
    for _ in range(300):
        data = bytearray(valid)
        for _ in range(source.randrange(1, 8)):
            data[source.randrange(len(data))] = source.randrange(256)
        cut = source.randrange(len(data))
        with server.connect() as client:
            client.send(bytes(data[:cut]))
            client.send(bytes(data[cut:]))
    with server.connect() as client:
        assert still_answers(client)
    wait_until(lambda: server.connections.budget.held == 0, seconds=5, what="held bytes to be given back")


# Time.


def test_head_that_does_not_come_is_answered_408() -> None:
    with EchoServer(header_seconds=0.2) as server, server.connect() as client:
        client.send(b"GET / HT")
        status, _, body = client.read()
        assert (status, b"head" in body) == (408, True)
        assert client.is_closed()


def test_head_that_trickles_is_answered_408_all_the_same() -> None:
    with EchoServer(header_seconds=0.3) as server, server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n")
        client.socket.settimeout(0.02)
        for index in range(500):
            try:
                client.send(b"A%d: b\r\n" % index)
                client._more()
                break
            except TimeoutError:
                continue
        assert client.status() == 408


def test_body_that_does_not_come_is_answered_408() -> None:
    with EchoServer(body_seconds=0.2) as server, server.connect() as client:
        client.send(post(b"hello")[:-1])
        status, _, body = client.read()
        assert (status, b"body" in body) == (408, True)


def test_idle_connection_is_closed_without_a_word() -> None:
    with EchoServer(idle_seconds=0.2) as server, server.connect() as client:
        client.send(get())
        assert client.status() == 200
        assert client.is_closed()


def test_connection_that_is_used_again_and_again_stays() -> None:
    with EchoServer(idle_seconds=0.5) as server, server.connect() as client:
        for _ in range(4):
            assert still_answers(client)
            let_pass(0.25)
        assert still_answers(client)


def test_busy_connection_is_not_idle() -> None:
    with EchoServer(idle_seconds=0.1, header_seconds=0.1, body_seconds=0.1) as server, server.connect() as client:
        client.send(get("/held"))
        wait_until(lambda: len(server.application.held) == 1, seconds=5, what="the request")
        with server.connect() as other:
            assert other.is_closed()
        server.call(server.application.held[0])
        assert echoed(client.read())["target"] == "/held"


def test_reader_that_is_slow_stops_the_answering_and_is_cut_off() -> None:
    with EchoServer(write_seconds=0.3) as server, server.connect() as client:
        client.send(get("/big") * 10)
        wait_until(lambda: len(server.application.observed) == 1, seconds=5, what="the first answer")
        wait_until(lambda: len(server.connections) == 0, seconds=5, what="the connection to be cut off")
        assert len(server.application.observed) == 1


def test_reader_that_is_slow_but_reads_gets_everything() -> None:
    with EchoServer(write_seconds=5) as server, server.connect() as client:
        client.send(get("/big") * 3)
        for _ in range(3):
            status, _, body = client.read()
            assert (status, len(body)) == (200, BIG)
        assert still_answers(client)


# Bounds over all connections.


def test_idle_connection_makes_room_at_the_limit() -> None:
    with EchoServer(connections=2) as server, server.connect() as first, server.connect() as second:
        for client in (first, second):
            client.send(get())
            assert client.status() == 200
        with server.connect() as third:
            assert still_answers(third)
            assert first.is_closed()
            assert still_answers(second)


def test_connection_is_refused_when_all_others_are_busy() -> None:
    with EchoServer(connections=1) as server, server.connect() as first:
        first.send(get("/held"))
        wait_until(lambda: len(server.application.held) == 1, seconds=5, what="the request")
        with server.connect() as second:
            status, headers, _ = second.read()
            assert (status, headers["retry-after"]) == (503, "1")
            assert second.is_closed()
        server.call(server.application.held[0])
        assert first.status() == 200


def test_bodies_held_by_all_connections_are_bounded_and_given_back() -> None:
    with EchoServer(buffered_bytes=1500) as server, server.connect() as first, server.connect() as second:
        first.send(post(b"x" * 1000, "/held"))
        wait_until(lambda: len(server.application.held) == 1, seconds=5, what="the request")
        second.send(post(b"x" * 1000))
        status, headers, _ = second.read()
        assert (status, headers["retry-after"]) == (503, "1")
        server.call(server.application.held[0])
        assert first.status() == 200
        with server.connect() as third:
            third.send(post(b"x" * 1000))
            assert third.status() == 200
        wait_until(lambda: server.connections.budget.held == 0, seconds=5, what="held bytes to be given back")


def test_client_that_goes_away_leaves_nothing_behind() -> None:
    with EchoServer() as server:
        with server.connect() as client:
            client.send(post(b"x" * 500, "/held") + post(b"x" * 500)[:-1])
            wait_until(lambda: len(server.application.held) == 1, seconds=5, what="the request")
        server.call(server.application.held[0])
        wait_until(lambda: len(server.connections) == 0, seconds=5, what="the connection to go")
        assert server.connections.budget.held == 0


def test_draining_ends_connections_after_their_pipelined_answers() -> None:
    with EchoServer() as server, server.connect() as client:
        client.send(get())
        assert client.status() == 200
        server.call(server.connections.drain)
        client.send(get("/1") + get("/2"))
        _, first, _ = client.read()
        _, second, _ = client.read()
        assert ("connection" in first, second.get("connection")) == (False, "close")
        assert client.is_closed()


def test_request_that_arrives_as_the_drain_ends_is_answered() -> None:
    with EchoServer() as server, server.connect() as client:
        assert still_answers(client)

        def send_and_finish() -> None:
            # Both run in one tick of the loop, so it cannot read in between.
            asyncio.get_running_loop().call_soon(client.send, get("/last"))
            server.finishing = asyncio.ensure_future(server.connections.finish(5))

        server.call(send_and_finish)
        assert echoed(client.read())["target"] == "/last"
        assert client.is_closed()
