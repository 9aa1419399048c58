"""A proxy in front of the real S3 server, which counts requests and can be as good as gone; in a thread of its own."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.s3 import S3Server

_HOP_HEADERS = {"connection", "transfer-encoding", "content-length"}


class S3Proxy:
    """Forwards to an S3 server. Use with `with`.

    Attributes:
        requests: method and path with query of every request so far.
        is_down: whether connections are closed instead of answered; their requests are counted all the same.
    """

    def __init__(self, server: S3Server) -> None:
        self.requests: list[tuple[str, str]] = []
        self.is_down = False
        self._server = server
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._proxy.serve_forever, name="s3-proxy", daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the store Secret, with the proxy as the server."""
        return {**self._server.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._proxy.server_port}"}

    def lists(self, prefix: str) -> int:
        """Return how often a prefix was listed."""
        queries = [parse_qs(urlsplit(path).query) for method, path in self.requests if method == "GET"]
        return sum("list-type" in query and query.get("prefix") == [prefix] for query in queries)

    def reads(self, key: str) -> int:
        """Return how often an object was read."""
        return sum(method == "GET" and urlsplit(path).path.endswith(f"/{key}") for method, path in self.requests)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join(timeout=10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                proxy.requests.append((self.command, self.path))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if proxy.is_down:
                    self.close_connection = True
                    return
                connection = http.client.HTTPConnection("127.0.0.1", proxy._server.port, timeout=30)
                try:
                    # The signature covers the header Host, so it goes through as it came.
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body)
                    self._answer(connection.getresponse())
                finally:
                    connection.close()

            def _answer(self, answer: http.client.HTTPResponse) -> None:
                content = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP_HEADERS:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 - the base class's names

            def log_message(self, *_: Any) -> None:
                """Tests read what they want to know from `requests`."""

        return Handler


@pytest.fixture
def s3_proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """A proxy of the shared server that this process takes for the store."""
    with S3Proxy(s3_server) as proxy:
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        yield proxy
