"""Serving a model directory on this machine: the model server as a child process."""

import importlib.util
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelyard.model import Example, Examples, InvalidModel
from modelyard.model.examples import EXAMPLES_FILE

_SERVER_PACKAGES: Final = ("httptools", "numpy", "onnxruntime", "orjson", "prometheus_client", "simdjson", "uvloop")
_WHOLE_EXAMPLE_VALUES: Final = 64


class ServeError(Exception):
    """The server cannot be started; the text says why."""


@dataclass(frozen=True)
class Options:
    """What to serve, and where."""

    folder: Path
    name: str
    version: int
    address: str
    port: int

    def environment(self) -> dict[str, str]:
        """Return the variables that the model server reads (docs/contracts.md, "A model server's pod")."""
        return {
            "MODELYARD_MODEL_DIR": str(self.folder),
            "MODELYARD_MODEL_NAME": self.name,
            "MODELYARD_MODEL_VERSION": str(self.version),
            "MODELYARD_DEPLOYMENT": self.name,
            "MODELYARD_ADDRESS": self.address,
            "MODELYARD_HTTP_PORT": str(self.port),
            "MODELYARD_METRICS_PORT": os.environ.get("MODELYARD_METRICS_PORT", "0"),
            "MODELYARD_DRAIN_SECONDS": "0",
            "MODELYARD_TERMINATION_LOG": os.devnull,
        }

    def url(self, port: int) -> str:
        """Return the model's URL."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{port}/v2/models/{self.name}"


def serve(options: Options, show: Callable[[str], None]) -> int:
    """Run the server until it is told to stop, and return its exit code. SIGHUP makes it load the folder again.

    Args:
        options: What to serve, and where.
        show: Takes the lines for people; what the server logs goes to standard error.

    Raises:
        ServeError: The server cannot be started.
    """
    require_server_packages()
    example = first_example(options.folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard.serving"],
        env={**os.environ, **options.environment()},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # so that Ctrl-C comes once, from here
    )
    _forward_signals(process)
    try:
        return _follow(process, options, example, show)
    finally:
        process.kill()
        process.wait()


def require_server_packages() -> None:
    """Raise ServeError when the packages of the extra `server` are not installed."""
    missing = [name for name in _SERVER_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ServeError(f"serving needs further packages: pip install 'modelyard[server]' (no {', '.join(missing)})")


def first_example(folder: Path) -> Example:
    """Return the first golden request of a model directory.

    Raises:
        ServeError: There is none.
    """
    try:
        return Examples.from_json((folder / EXAMPLES_FILE).read_bytes()).examples[0]
    except (OSError, InvalidModel) as error:
        raise ServeError(f"{folder} is not a model directory: {EXAMPLES_FILE}: {error}") from None


def curl_line(url: str, example: Example) -> str:
    """Return a shell command that asks for the example's first row (for all of it, where it is small)."""
    small = sum(len(tensor.data) for tensor in example.inputs) <= _WHOLE_EXAMPLE_VALUES
    inputs = []
    for tensor in example.inputs:
        rows = tensor.shape[0] if small else 1
        data = tensor.data[: rows * math.prod(tensor.shape[1:])]
        shape = [rows, *tensor.shape[1:]]
        inputs.append({"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "data": data})
    body = json.dumps({"inputs": inputs}, ensure_ascii=False)
    return f"curl {shlex.quote(f'{url}/infer')} -d {shlex.quote(body)}"


def _forward_signals(process: "subprocess.Popen[str]") -> None:
    def forward(number: int, _: object) -> None:
        process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)


def _follow(process: "subprocess.Popen[str]", options: Options, example: Example, show: Callable[[str], None]) -> int:
    """Pass the server's log on until it ends."""
    port, ready = options.port, False
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    for line in process.stderr:
        event = _parse(line)
        match event.get("message"):
            case "listening":
                port = int(event["http_port"])
            case "ready":
                ready = True
                url = options.url(port)
                show(f"Serving {options.folder} at {url}\nTry:\n  {curl_line(url, example)}")
            case "cannot start":
                raise ServeError(f"{event.get('reason')}: {event.get('problem')}")
            case _:
                pass
        sys.stderr.write(line)
    code = process.wait()
    if not ready and code:
        raise ServeError(f"the model server ended with {code} before it was ready")
    return code


def _parse(line: str) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
