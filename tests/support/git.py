"""A real git server for tests: `git http-backend` behind TLS on loopback, over bare repositories in a folder."""

import os
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from dev.cluster.certificates import Authority

_IDENTITY = {
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Repository:
    """A bare repository and the clone in which it is written."""

    def __init__(self, root: Path, name: str, url: str) -> None:
        self.bare = root / f"{name}.git"
        self.clone = root / f"{name}-clone"
        self.uri = f"git+{url}/{name}.git"
        """Of the repository, without `@ref`."""
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare), folder=root)
        self.git("clone", "--quiet", str(self.bare), str(self.clone), folder=root)
        self.git("symbolic-ref", "HEAD", "refs/heads/main")

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        """Run git in the clone and return what it prints."""
        environment = {**os.environ, **_IDENTITY}
        ran = subprocess.run(
            ["git", *arguments], cwd=folder or self.clone, env=environment, check=True, capture_output=True, text=True
        )
        return ran.stdout.strip()

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Write files, commit and push; return the commit."""
        for path, content in files.items():
            target = self.clone / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return self.push(branch)

    def push(self, branch: str = "main") -> str:
        """Commit all that is in the clone and push it; return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        self.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


class GitServer:
    """Serves the repositories of a folder. Use with `with`.

    Attributes:
        requests: method and path of every request so far.
        answer: status and headers with which every request is answered instead, if set.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repositories"
        self.root.mkdir()
        authority = Authority(folder / "pki")
        pair = authority.server("git", ["127.0.0.1"])
        self.certificate_authority = authority.root.certificate
        self.requests: list[tuple[str, str]] = []
        self.answer: tuple[int, dict[str, str]] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="git-server", daemon=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_port}"

    def repository(self, name: str) -> Repository:
        """Make a repository."""
        return Repository(self.root, name, self.url)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                server.requests.append((self.command, self.path))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if server.answer is not None:
                    self._answer(*server.answer, b"")
                else:
                    self._answer(*self._backend(body))

            def _backend(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
                path, _, query = self.path.partition("?")
                environment = {
                    **os.environ,
                    **_IDENTITY,
                    "GIT_PROJECT_ROOT": str(server.root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                }
                ran = subprocess.run(
                    ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False
                )
                head, _, content = ran.stdout.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                return int(headers.pop("Status", "200").split()[0]), headers, content

            def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Tests read what they want to know from `requests`."""

        return Handler


@pytest.fixture
def git_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """A git server whose certificate this process trusts."""
    folder = tmp_path / "git"
    folder.mkdir()
    with GitServer(folder) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate_authority))
        yield server
