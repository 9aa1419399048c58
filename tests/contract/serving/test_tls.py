"""TLS from a folder that is mounted and renewed like a Secret."""

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from dev.cluster.certificates import Authority, KeyPair
from modelyard.serving.tls import CHECK_SECONDS
from tests.contract.serving.conftest import StartServer
from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors
from tests.support.waiting import wait_until

BODY = json.dumps({"inputs": request_tensors(EXAMPLE_ROWS)}).encode()
SECONDS = 10.0


class MountedSecret:
    """A folder as the kubelet makes it: links to files behind a link that is swapped as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = 0
        folder.mkdir()
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(f"..data/{name}")

    def write(self, certificate: bytes, key: bytes) -> None:
        data, link = self.folder / "..data", self.folder / "..data_tmp"
        before = data.resolve()
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate)
        (version / "tls.key").write_bytes(key)
        link.symlink_to(version.name)
        link.rename(data)
        if self._versions > 1:
            shutil.rmtree(before)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def _pair(authority: Authority, name: str) -> KeyPair:
    return authority.server(name, ["localhost", "127.0.0.1"])


def _write(secret: MountedSecret, pair: KeyPair) -> None:
    secret.write(pair.certificate.read_bytes(), pair.key.read_bytes())


@pytest.fixture
def secret(tmp_path: Path, authority: Authority) -> MountedSecret:
    mounted = MountedSecret(tmp_path / "tls")
    _write(mounted, _pair(authority, "first"))
    return mounted


@pytest.fixture(scope="module")
def server(model_dir: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that the tests share; its certificate stays."""
    folder = tmp_path_factory.mktemp("server")
    _write(MountedSecret(folder / "tls"), _pair(authority, "first"))
    process = ServerProcess(model_dir, folder, MODELYARD_TLS_DIR=str(folder / "tls"), MODELYARD_GRPC_PORT="0")
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
def own_server(start_server: StartServer, secret: MountedSecret) -> ServerProcess:
    """A server of which a test renews the certificate, `secret`."""
    return start_server(MODELYARD_TLS_DIR=str(secret.folder), MODELYARD_GRPC_PORT="0").wait_ready()


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.root.certificate))


@contextlib.contextmanager
def _connected(server: ServerProcess, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        yield secured


def _subject(server: ServerProcess, context: ssl.SSLContext) -> str:
    with _connected(server, context) as connection:
        certificate = connection.getpeercert()
    assert certificate
    return str(dict(pair for name in certificate["subject"] for pair in name)["commonName"])  # type: ignore[misc]


def _infer(port: int, context: ssl.SSLContext) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=context)
    try:
        connection.request("POST", "/v2/models/flight-delay/infer", BODY)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_inference_is_served_over_tls_and_metrics_without(server: ServerProcess, trust: ssl.SSLContext) -> None:
    status, body = _infer(server.port, trust)
    assert (status, json.loads(body)["model_name"]) == (200, "flight-delay")
    assert server.request("GET", "/metrics", port=server.metrics_port).status == 200


def test_http_1_1_is_negotiated(server: ServerProcess, trust: ssl.SSLContext) -> None:
    trust.set_alpn_protocols(["h2", "http/1.1"])
    with _connected(server, trust) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert connection.version() == "TLSv1.3"


def test_client_without_a_host_name_is_served(server: ServerProcess, trust: ssl.SSLContext) -> None:
    trust.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as plain,
        trust.wrap_socket(plain) as secured,
    ):
        assert secured.version() == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("version", "served"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)])
def test_tls_older_than_1_2_is_refused(
    server: ServerProcess, trust: ssl.SSLContext, version: ssl.TLSVersion, served: bool
) -> None:
    trust.minimum_version = trust.maximum_version = version
    trust.set_ciphers("ALL:@SECLEVEL=0")
    if served:
        assert _infer(server.port, trust)[0] == 200
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _infer(server.port, trust)


def test_client_certificate_is_not_asked_for(server: ServerProcess, authority: Authority) -> None:
    arguments = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.root.certificate]
    shown = subprocess.run(arguments, input=b"", capture_output=True, timeout=SECONDS, check=True).stdout
    assert b"No client certificate CA names sent" in shown
    assert b"Verify return code: 0 (ok)" in shown


def test_plain_request_to_the_tls_port_is_not_answered(server: ServerProcess, trust: ssl.SSLContext) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        server.request("GET", "/v2")
    assert _infer(server.port, trust)[0] == 200


def test_last_answer_of_a_connection_arrives_before_it_closes(server: ServerProcess, trust: ssl.SSLContext) -> None:
    with _connected(server, trust) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"}")
    assert [line for line in server.log() if line["level"] == "error"] == []


def test_client_that_does_not_shake_hands_is_cut_off_and_others_are_served(
    server: ServerProcess, trust: ssl.SSLContext
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=2 * SECONDS) as silent:
        assert _infer(server.port, trust)[0] == 200
        assert silent.recv(1) == b""


def test_grpc_is_served_over_tls(server: ServerProcess, authority: Authority) -> None:
    credentials = grpc.ssl_channel_credentials(authority.root.certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{server.grpc_port}", credentials) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=SECONDS).ready


@dataclass
class Load:
    """Sends requests, the first client over one connection, the second over a new one each time."""

    port: int
    trust: ssl.SSLContext
    fresh: bool
    stop: threading.Event
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        connection = self._connect()
        while not self.stop.is_set():
            try:
                connection.request("POST", "/v2/models/flight-delay/infer", BODY)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            else:
                self.answered += response.status == 200
            if self.fresh:
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SECONDS, context=self.trust)


def test_renewed_certificate_is_served_without_a_failed_request(
    own_server: ServerProcess, secret: MountedSecret, authority: Authority, trust: ssl.SSLContext
) -> None:
    stop = threading.Event()
    loads = [Load(own_server.port, trust, fresh, stop) for fresh in (False, True)]
    threads = [threading.Thread(target=load.run) for load in loads]
    credentials = grpc.ssl_channel_credentials(authority.root.certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{own_server.grpc_port}", credentials) as channel:
        for thread in threads:
            thread.start()
        wait_until(lambda: all(load.answered > 20 for load in loads), seconds=SECONDS, what="load")
        assert _subject(own_server, trust) == "first"
        _write(secret, _pair(authority, "second"))
        wait_until(lambda: _subject(own_server, trust) == "second", seconds=SECONDS, what="the new certificate")
        before = [load.answered for load in loads]
        wait_until(
            lambda: all(load.answered > count + 20 for load, count in zip(loads, before, strict=True)),
            seconds=SECONDS,
            what="requests after the renewal",
        )
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=SECONDS).ready
    stop.set()
    for thread in threads:
        thread.join(SECONDS)
    assert [load.failures for load in loads] == [[], []]
    presented = ssl.get_server_certificate(
        ("127.0.0.1", own_server.grpc_port), ca_certs=str(authority.root.certificate)
    )
    assert presented.strip() in _pair(authority, "second").certificate.read_text()


def test_bad_renewal_keeps_the_certificate_and_is_logged_once(
    own_server: ServerProcess, secret: MountedSecret, authority: Authority, trust: ssl.SSLContext
) -> None:
    first, other = _pair(authority, "first"), _pair(authority, "other")
    secret.write(other.certificate.read_bytes(), first.key.read_bytes())
    line = own_server.wait_logged("certificate not renewed")
    assert line["problem"] == "tls.crt and tls.key are no usable pair: KEY_VALUES_MISMATCH"
    assert _subject(own_server, trust) == "first"
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() - begin > CHECK_SECONDS + 0.5, seconds=SECONDS, what="another look")
    assert len(_warnings(own_server)) == 1
    secret.write(other.certificate.read_bytes(), b"")
    wait_until(lambda: len(_warnings(own_server)) == 2, seconds=SECONDS, what="the second problem")
    _write(secret, other)
    wait_until(lambda: _subject(own_server, trust) == "other", seconds=SECONDS, what="the good certificate")


def _warnings(server: ServerProcess) -> list[object]:
    return [line for line in server.log() if line["message"] == "certificate not renewed"]


def test_expiry_is_a_metric(server: ServerProcess, authority: Authority) -> None:
    page = server.request("GET", "/metrics", port=server.metrics_port).body.decode()
    name = "modelyard_tls_certificate_expiry_timestamp_seconds{"
    (line,) = (line for line in page.splitlines() if line.startswith(name))
    arguments = ["openssl", "x509", "-enddate", "-noout", "-in", _pair(authority, "first").certificate]
    shown = subprocess.run(arguments, capture_output=True, timeout=SECONDS, check=True, text=True).stdout
    assert float(line.rpartition(" ")[2]) == ssl.cert_time_to_seconds(shown.strip().removeprefix("notAfter="))


def _encrypted(pair: KeyPair) -> bytes:
    arguments = ["openssl", "pkey", "-in", pair.key, "-aes256", "-passout", "pass:secret"]
    return subprocess.run(arguments, capture_output=True, timeout=SECONDS, check=True).stdout


@pytest.mark.parametrize("fault", ["no folder", "no key", "other key", "encrypted key", "text"])
def test_start_without_a_usable_pair_is_a_clear_end(
    start_server: StartServer, tmp_path: Path, authority: Authority, fault: str
) -> None:
    first, other = _pair(authority, "first"), _pair(authority, "other")
    folder = tmp_path / "tls"
    if fault != "no folder":
        folder.mkdir()
        (folder / "tls.crt").write_bytes(b"text" if fault == "text" else first.certificate.read_bytes())
    if fault not in {"no folder", "no key"}:
        key = {"other key": other.key.read_bytes(), "encrypted key": _encrypted(first)}
        (folder / "tls.key").write_bytes(key.get(fault, first.key.read_bytes()))
    server = start_server(MODELYARD_TLS_DIR=str(folder))
    assert server.wait() == 1
    end = json.loads(server.termination_log.read_bytes())
    assert end["reason"] == "InvalidCertificate"
    assert end["message"].startswith(f"{folder}: tls.")
