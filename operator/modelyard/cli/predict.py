"""Asking a model server for the rows of a file."""

import contextlib
import csv
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Self, TextIO
from urllib.parse import urlsplit

from modelyard.cli.rows import Batch, read_batches
from modelyard.cli.tensors import TensorInfo, column_names, to_inputs, to_rows

TIMEOUT_SECONDS = 60.0
ATTEMPTS = 6
_LONGEST_PAUSE_SECONDS = 10.0
_OK, _UNAVAILABLE = 200, 503


class PredictError(Exception):
    """The server cannot be asked, or refuses."""


class ModelClient:
    """Talks to one model of an Open Inference Protocol V2 server over one connection.

    Args:
        url: `http://host:port/v2/models/NAME` or `…/versions/V`.
        sleep: Waits some seconds.
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url.rstrip("/"))
        self._path = parts.path
        if parts.scheme not in {"http", "https"} or not parts.hostname or not self._path.startswith("/v2/models/"):
            raise PredictError(f"'{url}' must be the URL of a model: http://HOST:PORT/v2/models/NAME")
        try:
            port = parts.port
        except ValueError as error:
            raise PredictError(f"'{url}': {error}") from None
        connection = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = connection(parts.hostname, port, timeout=TIMEOUT_SECONDS)
        self._url = url
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def tensors(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """Return the model's inputs and outputs."""
        metadata = self._ask("GET", self._path)
        try:
            inputs, outputs = ([TensorInfo.parse(entry) for entry in metadata[key]] for key in ("inputs", "outputs"))
        except (KeyError, TypeError):
            raise PredictError(f"{self._url} does not say what its inputs and outputs are") from None
        return inputs, outputs

    def infer(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the outputs for some inputs."""
        answer = self._ask("POST", f"{self._path}/infer", json.dumps({"inputs": inputs}).encode())
        outputs: list[dict[str, Any]] = answer["outputs"]
        return outputs

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Ask, and ask again while the server is not there or says that it has too much to do."""
        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            pause = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2**attempt) * random.uniform(0.5, 1)  # noqa: S311 - jitter
            try:
                status, headers, content = self._exchange(method, path, body)
            except (OSError, HTTPException) as error:
                problem = f"{self._url} does not answer: {error!r}"
            else:
                if status != _UNAVAILABLE:
                    return self._content(status, content)
                problem = f"{self._url} is not available: {_error(content)}"
                pause = min(_LONGEST_PAUSE_SECONDS, max(pause, _seconds(headers.get("retry-after", ""))))
            if attempt < ATTEMPTS:
                self._sleep(pause)
        raise PredictError(f"{problem} (asked {ATTEMPTS} times)")

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = self._connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        except (OSError, HTTPException):
            self._connection.close()
            raise

    def _content(self, status: int, content: bytes) -> dict[str, Any]:
        if status != _OK:
            raise PredictError(f"{self._url} answers {status}: {_error(content)}")
        try:
            document = json.loads(content)
        except ValueError:
            raise PredictError(f"{self._url} answers something else than JSON") from None
        if not isinstance(document, dict):
            raise PredictError(f"{self._url} answers something else than a JSON object")
        return document


def predict(client: ModelClient, file: Path, rows: int, output: Path | None, standard: TextIO) -> int:
    """Ask for all rows of a file and write the answers as CSV; return how many.

    At most `rows` go into one request. `output` is replaced when all answers are there; without it they are written to
    `standard` as they come.

    Raises:
        RowsError, TensorsError, PredictError: The text says what is wrong, with the row where there is one.
    """
    inputs, outputs = client.tensors()
    count = 0
    with contextlib.nullcontext(standard) if output is None else _replacing(output) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for batch in read_batches(file, rows):
            tensors = to_inputs(inputs, batch)
            size = int(tensors[0]["shape"][0])
            answers = _infer(client, tensors, batch, size) if size else []
            if batch.first_row == 1:
                writer.writerow(column_names([TensorInfo.parse(answer) for answer in answers] or outputs))
            writer.writerows(to_rows(answers, size))
            count += size
    return count


def _infer(client: ModelClient, tensors: list[dict[str, Any]], batch: Batch, rows: int) -> list[dict[str, Any]]:
    try:
        return client.infer(tensors)
    except PredictError as error:
        raise PredictError(f"rows {batch.first_row} to {batch.first_row + rows - 1}: {error}") from None


@contextlib.contextmanager
def _replacing(file: Path) -> Iterator[TextIO]:
    """Write next to a file and take its place only when all went well."""
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise PredictError(f"{file} cannot be written: {error}") from None
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def _error(content: bytes) -> str:
    """Return the text of the protocol's error body, or what there is instead."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(content)["error"])
    return content[:200].decode("utf-8", "replace") or "no reason given"


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < len("86400") else 0.0
