"""Clients that keep asking, and note every request that was not answered."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class LoadClient:
    """Sends requests one after the other over kept connections, as long as it is told to."""

    address: tuple[str, int]
    path: str
    body: bytes
    stop: threading.Event
    answered: int = 0
    ended: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        while not self.stop.is_set():
            try:
                connection.request("POST", self.path, self.body)
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
def load(address: tuple[str, int], path: str, body: bytes, clients: int = 4) -> Iterator[list[LoadClient]]:
    """Keep a server busy; at the end no request may have failed."""
    stop = threading.Event()
    asking = [LoadClient(address, path, body, stop) for _ in range(clients)]
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
