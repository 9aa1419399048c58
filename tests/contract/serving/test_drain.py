"""SIGTERM loses no request."""

import time

from tests.contract.serving.conftest import StartServer
from tests.contract.serving.raw_http import Client, get, post
from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import BODY, PATH
from tests.support.load import load
from tests.support.waiting import wait_until


def test_drain_under_load_fails_no_request_and_exits_0(start_server: StartServer) -> None:
    server = start_server(MODELYARD_DRAIN_SECONDS="2").wait_ready()
    with load(("127.0.0.1", server.port), PATH, BODY) as clients:
        wait_until(lambda: all(client.answered > 50 for client in clients), seconds=20, what="load")
        server.terminate()
        server.wait_logged("draining")
        begin = time.monotonic()
        before = [client.answered for client in clients]
        wait_until(lambda: time.monotonic() - begin > 1, seconds=5, what="traffic to move on to other pods")
    assert server.wait() == 0
    assert all(client.answered > count for client, count in zip(clients, before, strict=True))
    assert all(client.ended > 0 for client in clients)
    assert server.logged("connections cut off") is None


def _draining(start_server: StartServer, seconds: str) -> ServerProcess:
    server = start_server(MODELYARD_DRAIN_SECONDS=seconds).wait_ready()
    server.terminate()
    server.wait_logged("draining")
    return server


def test_draining_server_is_not_ready_but_live_and_answers(start_server: StartServer) -> None:
    server = _draining(start_server, "60")
    ready = server.request("GET", "/v2/health/ready")
    assert (ready.status, ready.json) == (503, {"ready": False})
    assert server.request("GET", "/v2/models/flight-delay/ready").status == 503
    assert server.request("GET", "/v2/health/live").status == 200
    answer = server.infer(BODY)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert server.request("GET", "/metrics", port=server.metrics_port).status == 200


def test_request_under_way_when_the_drain_ends_is_still_answered(start_server: StartServer) -> None:
    server = start_server(MODELYARD_DRAIN_SECONDS="0.2").wait_ready()
    with Client(server.port) as client, Client(server.port) as idle:
        request = post(BODY, PATH)
        client.send(request[:-10])
        idle.send(get("/v2"))
        assert idle.status() == 200
        server.terminate()
        assert idle.is_closed()
        client.send(request[-10:])
        assert client.status() == 200
        assert client.is_closed()
    assert server.wait() == 0


def test_second_signal_ends_the_drain_at_once(start_server: StartServer) -> None:
    server = _draining(start_server, "3600")
    with Client(server.port) as client:
        client.send(post(BODY, PATH)[:-1])
        server.terminate()
        assert server.wait() == 0
