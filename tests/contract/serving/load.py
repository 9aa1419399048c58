"""Clients that keep asking, and note every request that was not answered."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors

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
        connection.close()


@contextmanager
def load(port: int, clients: int = 4) -> Iterator[list[LoadClient]]:
    """Keep a server busy; at the end no request may have failed."""
    stop = threading.Event()
    asking = [LoadClient(port, stop) for _ in range(clients)]
    threads = [threading.Thread(target=client.run) for client in asking]
    for thread in threads:
        thread.start()
    try:
        yield asking
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert [client.failures for client in asking] == [[]] * clients
