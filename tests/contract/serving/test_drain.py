"""SIGTERM loses no request."""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field

from tests.contract.serving.conftest import StartServer
from tests.contract.serving.raw_http import Client, get, post
from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors
from tests.support.waiting import wait_until

BODY = json.dumps({"inputs": request_tensors(EXAMPLE_ROWS)}).encode()
PATH = "/v2/models/flight-delay/infer"


@dataclass
class LoadClient:
    """Sends requests one after the other over kept connections, as long as it is told to."""

    port: int
    stop: threading.Event
    answered: int = 0
    ended: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.stop.is_set():
            try:
                connection.request("POST", PATH, BODY)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            if response.status != 200:
                self.failures.append(content.decode())
            self.answered += 1
            self.ended += response.getheader("Connection") == "close"


def test_drain_under_load_fails_no_request_and_exits_0(start_server: StartServer) -> None:
    server = start_server(MODELYARD_DRAIN_SECONDS="2").wait_ready()
    stop = threading.Event()
    clients = [LoadClient(server.port, stop) for _ in range(4)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(client.answered > 50 for client in clients), seconds=20, what="load")
    server.terminate()
    server.wait_logged("draining")
    begin = time.monotonic()
    before = [client.answered for client in clients]
    wait_until(lambda: time.monotonic() - begin > 1, seconds=5, what="traffic to move on to other pods")
    stop.set()
    for thread in threads:
        thread.join(10)
    assert server.wait() == 0
    assert [client.failures for client in clients] == [[]] * len(clients)
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
