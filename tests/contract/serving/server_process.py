"""The real server as a child process on free loopback ports."""

import http.client
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.serving.verification import directory_digest
from tests.support.waiting import wait_until

DEADLINE = 30.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ServerProcess:
    def __init__(self, model_dir: Path, logs: Path, **environment: str) -> None:
        self.termination_log = logs / "termination-log"
        self._log = logs / "log"
        variables = {
            "MODELYARD_MODEL_DIR": str(model_dir),
            "MODELYARD_MODEL_NAME": "flight-delay",
            "MODELYARD_MODEL_VERSION": "7",
            "MODELYARD_DEPLOYMENT": "flights",
            "MODELYARD_ADDRESS": "127.0.0.1",
            "MODELYARD_HTTP_PORT": "0",
            "MODELYARD_METRICS_PORT": "0",
            "MODELYARD_DRAIN_SECONDS": "0",
            "MODELYARD_TERMINATION_LOG": str(self.termination_log),
        }
        if "MODELYARD_MODEL_DIGEST" not in environment:
            variables["MODELYARD_MODEL_DIGEST"] = directory_digest(model_dir)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("MODELYARD_")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.serving"],
                env=inherited | variables | environment,
                stderr=log,
            )

    def log_lines(self) -> list[bytes]:
        return self._log.read_bytes().splitlines()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_lines() if line.endswith(b"}")]

    def logged(self, message: str) -> dict[str, Any] | None:
        return next((line for line in self.log() if line["message"] == message), None)

    def wait_logged(self, message: str) -> dict[str, Any]:
        wait_until(
            lambda: self.logged(message) is not None or self.process.poll() is not None,
            seconds=DEADLINE,
            what=f"the server to log '{message}'",
        )
        line = self.logged(message)
        assert line is not None, f"the server ended: {self.log()}"
        return line

    def wait_ready(self) -> "ServerProcess":
        self.wait_logged("ready")
        return self

    @property
    def port(self) -> int:
        return int(self.wait_logged("listening")["http_port"])

    @property
    def metrics_port(self) -> int:
        return int(self.wait_logged("listening")["metrics_port"])

    @property
    def grpc_port(self) -> int:
        return int(self.wait_logged("listening")["grpc_port"])

    def request(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        port: int | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=DEADLINE)
        try:
            content = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, content, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def infer(self, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
        return self.request("POST", "/v2/models/flight-delay/infer", body, headers)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
