"""A real S3 server for tests: versitygw over a temporary folder, on loopback, with keys made for the test run."""

import hashlib
import hmac
import http.client
import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dev.cluster import tools
from tests.support.waiting import wait_until

REGION = "us-east-1"


@dataclass
class S3Server:
    """A running S3 server. Buckets are folders of `root`, objects are files in them."""

    binary: Path
    root: Path
    port: int
    access_key: str = field(default_factory=lambda: "test" + secrets.token_hex(8))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the store Secret."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    @property
    def versions(self) -> Path:
        """Where older versions of objects are kept."""
        return self.root.with_name(f"{self.root.name}-versions")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.versions.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [
                *(self.binary, "--port", f"127.0.0.1:{self.port}", "--region", REGION, "--quiet"),
                *("posix", "--versioning-dir", self.versions, self.root),
            ],
            env={**os.environ, "ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, seconds=20, what="versitygw to answer")

    def stop(self) -> None:
        """Stop the server; its buckets stay."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None

    def bucket(self, name: str) -> Path:
        """Make a bucket and return its folder."""
        folder = self.root / name
        folder.mkdir()
        return folder

    def enable_versioning(self, bucket: str) -> None:
        """Keep every version of the bucket's objects from now on."""
        body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        host, hashed = f"127.0.0.1:{self.port}", hashlib.sha256(body).hexdigest()
        headers = {"host": host, "x-amz-content-sha256": hashed, "x-amz-date": time}
        names = ";".join(headers)
        head = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"PUT\n/{bucket}\nversioning=\n{head}\n{names}\n{hashed}"
        scope = f"{time[:8]}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in [*scope.split("/"), text]:
            key = hmac.digest(key, part.encode(), "sha256")
        credential = f"Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        connection = http.client.HTTPConnection(host, timeout=20)
        try:
            headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}"
            connection.request("PUT", f"/{bucket}?versioning=", body, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
        finally:
            connection.close()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"versitygw ended with {self.process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _server(folder: Path) -> S3Server:
    binary = tools.ensure(["versitygw"], print)["versitygw"]
    return S3Server(binary, folder, free_port())


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that tests share; each makes its own buckets and never stops it."""
    server = _server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_s3_server(tmp_path: Path) -> Iterator[S3Server]:
    """An S3 server for one test, which may stop and start it."""
    folder = tmp_path / "s3"
    folder.mkdir()
    server = _server(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    """A fresh bucket of the shared server."""
    name = f"bucket-{secrets.token_hex(6)}"
    s3_server.bucket(name)
    return name


@pytest.fixture
def use_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], None]:
    """Set the environment of this process as the store Secret would."""

    def use(server: S3Server) -> None:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)

    return use
