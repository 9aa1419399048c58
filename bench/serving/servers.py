"""How each server is started: ours, the peers with their best settings, and nginx with a fixed answer."""

import http.client
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.serving.processes import Tree
from bench.serving.workloads import BINARY, HEADER_LENGTH, JSON, Message, Workload
from dev.cluster.paths import REPOSITORY
from modelyard.serving.verification import directory_digest

MODEL: Final = "bench"
PATH: Final = f"/v2/models/{MODEL}/infer"
OURS: Final = "modelyard"
FLOOR: Final = "nginx"
PEERS: Final = ("mlserver", "kserve", "mosec", "fastapi")

PROFILE_OFF: Final = {"MODELYARD_PROFILE": "off"}
PROFILE_ON: Final = {"MODELYARD_PROFILE": "on"}
LOG_PERCENT: Final = "10"
UNMONITORED: Final = "modelyard off"
UNMONITORED_AGAIN: Final = "modelyard off again"
PROFILED: Final = "modelyard profile"
LOGGED: Final = "modelyard profile and log"
MONITORING: Final[Mapping[str, Mapping[str, str]]] = {
    UNMONITORED: PROFILE_OFF,
    UNMONITORED_AGAIN: PROFILE_OFF,
    PROFILED: PROFILE_ON,
    LOGGED: PROFILE_ON
    | {"MODELYARD_PREDICTION_LOG_DIR": "predictions", "MODELYARD_PREDICTION_LOG_PERCENT": LOG_PERCENT},
}
"""Our server with and without monitoring; the first two are the same, to show the noise."""

STATIC_ANSWER: Final = json.dumps(
    {
        "model_name": MODEL,
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
        ],
    },
    separators=(",", ":"),
)
_NGINX_CONFIGURATION: Final = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; default_type application/json;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{answer}'; }} }}
}}
"""
_READY_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.005
_OK: Final = 200


class ServerError(RuntimeError):
    """A server did not start, ended, or answered wrongly; the message says what it said."""


@dataclass(frozen=True)
class Launch:
    """What a server is started with.

    Attributes:
        folder: its own, for logs and whatever it writes.
    """

    workload: Workload
    port: int
    folder: Path


@dataclass(frozen=True)
class Server:
    """One kind of server. Variants of a peer share its package."""

    name: str
    package: str
    command: Callable[[Launch], list[str]]
    environment: Callable[[Launch], dict[str, str]]
    encodings: tuple[str, ...] = (JSON,)

    def start(self, workload: Workload, folder: Path) -> "Running":
        folder.mkdir(parents=True, exist_ok=True)
        launch = Launch(workload, _free_port(), folder)
        return Running(self, launch, Tree(self.command(launch), self.environment(launch), folder / "log"))


@dataclass
class Running:
    """A started server."""

    server: Server
    launch: Launch
    tree: Tree
    began: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.launch.port}{PATH}"

    def ask(self, message: Message) -> Message:
        """Send one request on a connection of its own.

        Raises:
            ServerError: the answer is not 200.
            OSError: there is no whole answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.launch.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("POST", PATH, message.body, message.headers)
            answer = connection.getresponse()
            body, length = answer.read(), answer.getheader(HEADER_LENGTH)
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from None
        finally:
            connection.close()
        if answer.status != _OK:
            raise ServerError(f"{self.server.name} answered {answer.status}: {body[:300]!r}")
        return Message(body, int(length) if length else None)

    def wait_correct(self) -> float:
        """Wait for the first correct answer to one row; return the seconds since the start.

        Raises:
            ServerError: it ended, answered wrongly, or did not answer in time.
        """
        workload, said = self.launch.workload, "nothing"
        while time.monotonic() < self.began + _READY_SECONDS:
            if self.tree.ended():
                raise ServerError(f"{self.server.name} ended: {self.log()}")
            try:
                answer = self.ask(workload.request(1))
            except (OSError, ServerError) as error:
                said = str(error)
                time.sleep(_POLL_SECONDS)
                continue
            seconds = time.monotonic() - self.began
            if self.server.name != FLOOR and (fault := workload.fault(answer, 1)):
                raise ServerError(f"{self.server.name}: {fault}")
            return seconds
        raise ServerError(f"{self.server.name} gave no answer in {_READY_SECONDS} s; last: {said}; {self.log()}")

    def log(self) -> str:
        return (self.launch.folder / "log").read_text(errors="replace")[-1500:]


IMAGE_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYTHONOPTIMIZE": "2"}
"""What the image of the server sets (dev/images/server.Dockerfile)."""


def ours(
    environment: Mapping[str, str] | None = None,
    *,
    name: str = OURS,
    drain_seconds: float = 0,
    pinned: bool = True,
) -> Server:
    """Our server as its pod starts it.

    Args:
        environment: what differs from the defaults.
        name: of the variant.
        drain_seconds: how long it goes on answering when told to stop.
        pinned: whether it serves only the directory as it is now; a swap needs one that does not mind.
    """

    def variables(launch: Launch) -> dict[str, str]:
        digest = {"MODELYARD_MODEL_DIGEST": directory_digest(launch.workload.folder)} if pinned else {}
        return digest | {
            **IMAGE_ENVIRONMENT,
            "MODELYARD_MODEL_DIR": str(launch.workload.folder),
            "MODELYARD_MODEL_NAME": MODEL,
            "MODELYARD_MODEL_VERSION": "1",
            "MODELYARD_DEPLOYMENT": MODEL,
            "MODELYARD_ADDRESS": "127.0.0.1",
            "MODELYARD_HTTP_PORT": str(launch.port),
            "MODELYARD_METRICS_PORT": "0",
            "MODELYARD_DRAIN_SECONDS": str(drain_seconds),
            "MODELYARD_TERMINATION_LOG": str(launch.folder / "termination-log"),
            **(environment or {}),
        }

    return Server(name, OURS, lambda _: [sys.executable, "-m", "modelyard.serving"], variables, (JSON, BINARY))


def nginx() -> Server:
    """The floor: an answer of a prediction's size without looking at the request."""

    def command(launch: Launch) -> list[str]:
        text = _NGINX_CONFIGURATION.format(folder=launch.folder, port=launch.port, answer=STATIC_ANSWER)
        (launch.folder / "nginx.conf").write_text(text)
        return [
            shutil.which("nginx") or "nginx",
            "-e",
            "stderr",
            "-p",
            str(launch.folder),
            "-c",
            str(launch.folder / "nginx.conf"),
        ]

    return Server(FLOOR, FLOOR, command, lambda _: {})


def peer_variants(peer: str, python: Path) -> list[Server]:
    """A peer's servers, each with its best settings; those with batching are variants of their own."""
    match peer:
        case "mlserver":
            return [_mlserver(python, batching=False), _mlserver(python, batching=True)]
        case "mosec":
            return [_mosec(python, batching=False), _mosec(python, batching=True)]
        case "kserve":
            return [_kserve(python)]
        case _:
            return [_fastapi(python)]


def _model_environment(launch: Launch) -> dict[str, str]:
    threads = IMAGE_ENVIRONMENT["OPENBLAS_NUM_THREADS"]
    return {
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONPATH": str(REPOSITORY),
        "BENCH_MODEL": str(launch.workload.model_file),
    }


def _mlserver(python: Path, *, batching: bool) -> Server:
    def command(launch: Launch) -> list[str]:
        settings = {
            "name": MODEL,
            "implementation": "bench.serving.peers.mlserver_runtime.OnnxRuntime",
            "parameters": {"uri": str(launch.workload.model_file)},
            **({"max_batch_size": 64, "max_batch_time": 0.002} if batching else {}),
        }
        (launch.folder / "model-settings.json").write_text(json.dumps(settings))
        return [str(python.with_name("mlserver")), "start", str(launch.folder)]

    def environment(launch: Launch) -> dict[str, str]:
        return _model_environment(launch) | {
            "MLSERVER_PARALLEL_WORKERS": "0",
            "MLSERVER_DEBUG": "false",
            "MLSERVER_GZIP_ENABLED": "false",
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(launch.port),
            "MLSERVER_GRPC_PORT": str(_free_port()),
            "MLSERVER_METRICS_PORT": str(_free_port()),
        }

    return Server("mlserver batching" if batching else "mlserver", "mlserver", command, environment)


def _kserve(python: Path) -> Server:
    def command(launch: Launch) -> list[str]:
        options = {"http_port": launch.port, "enable_grpc": "false", "enable_latency_logging": "false"}
        return [
            str(python),
            "-m",
            "bench.serving.peers.kserve_server",
            *(f"--{name}={value}" for name, value in options.items()),
            "--event-loop=uvloop",
        ]

    return Server("kserve", "kserve", command, _model_environment, (JSON, BINARY))


def _mosec(python: Path, *, batching: bool) -> Server:
    def command(launch: Launch) -> list[str]:
        options = ["--address=127.0.0.1", f"--port={launch.port}", "--log-level=warning", "--timeout=30000"]
        return [str(python), "-m", "bench.serving.peers.mosec_server", *options]

    def environment(launch: Launch) -> dict[str, str]:
        return _model_environment(launch) | {"BENCH_BATCHING": "on" if batching else "off"}

    return Server("mosec batching" if batching else "mosec", "mosec", command, environment)


def _fastapi(python: Path) -> Server:
    def command(launch: Launch) -> list[str]:
        return [str(python), "-m", "bench.serving.peers.fastapi_server", str(launch.port)]

    return Server("fastapi", "fastapi", command, _model_environment)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
