"""The models that are served, and the requests that are sent to them with the answers that they must get."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.serving.peers.onnx_model import open_session
from dev.cluster.paths import cache_dir

MODELS: Final = ("gbt", "mixed", "mlp")
ROWS: Final = (1, 64)
JSON: Final = "json"
BINARY: Final = "binary"
TOLERANCE: Final = 1e-4
HEADER_LENGTH: Final = "Inference-Header-Content-Length"

_REQUESTED_SEED: Final = 99
_NUMERIC_COLUMNS: Final = 8
CATEGORIES: Final = {"carrier": 12, "origin": 3, "month": 12, "weather": 6}

Array = NDArray[Any]


@dataclass(frozen=True)
class Message:
    """A request, or an answer: its body, and how many bytes of it are JSON when tensors follow in binary."""

    body: bytes
    header_length: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        if self.header_length is None:
            return {"Content-Type": "application/json"}
        return {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(self.header_length)}


@dataclass(frozen=True)
class Workload:
    """A model directory and rows to ask it for."""

    name: str
    folder: Path
    rows: Mapping[str, Array]

    @property
    def model_file(self) -> Path:
        return self.folder / "model.onnx"

    def request(self, rows: int, encoding: str = JSON, *, first: int = 0) -> Message:
        """A request for some rows, from the first one on."""
        inputs = {name: values[first : first + rows] for name, values in self.rows.items()}
        if encoding == JSON:
            tensors = [_head(name, values) | {"data": values.ravel().tolist()} for name, values in inputs.items()]
            return Message(json.dumps({"inputs": tensors}, separators=(",", ":")).encode())
        parts = [_tensor_bytes(values) for values in inputs.values()]
        tensors = [
            _head(name, values) | {"parameters": {"binary_data_size": len(part)}}
            for (name, values), part in zip(inputs.items(), parts, strict=True)
        ]
        header = json.dumps(
            {"parameters": {"binary_data_output": True}, "inputs": tensors}, separators=(",", ":")
        ).encode()
        return Message(header + b"".join(parts), len(header))

    def ready_inputs(self, rows: int) -> dict[str, Array]:
        """The inputs as ONNX Runtime takes them."""
        return {name: as_model_takes(values[:rows]) for name, values in self.rows.items()}

    def fault(self, answer: Message, rows: int, *, first: int = 0) -> str:
        """What is wrong with an answer, or nothing."""
        expected = {name: values[first : first + rows] for name, values in _answers(self.folder, self.name).items()}
        try:
            outputs = decode_answer(answer)
        except (ValueError, KeyError, TypeError) as error:
            return f"not an answer: {error!r} in {answer.body[:200]!r}"
        for name, wanted in expected.items():
            got = outputs.get(name)
            if got is None or got.shape != wanted.shape or not np.allclose(got, wanted, TOLERANCE, TOLERANCE):
                return f"output '{name}' is {got}, must be {wanted}"
        return ""


def decode_answer(answer: Message) -> dict[str, Array]:
    """The outputs of an answer by name; all of the models here answer with numbers.

    Raises:
        ValueError: It is not JSON, or its shapes do not fit.
        KeyError: A tensor lacks something.
    """
    outputs: dict[str, Array] = {}
    end = answer.header_length if answer.header_length is not None else len(answer.body)
    for tensor in json.loads(answer.body[:end])["outputs"]:
        if "data" in tensor:
            values = np.array(tensor["data"])
        else:
            begin, end = end, end + tensor["parameters"]["binary_data_size"]
            values = np.frombuffer(answer.body[begin:end], {"FP32": "<f4", "INT64": "<i8"}[tensor["datatype"]])
        outputs[tensor["name"]] = values.reshape(tensor["shape"])
    return outputs


def workload(name: str, *, seed: int = 0) -> Workload:
    """A model, trained and written when the cache lacks it. Another seed gives another model for the same requests."""
    key = hashlib.sha256(Path(__file__).read_bytes() + Path(__file__).with_name("training.py").read_bytes())
    for package in ("scikit-learn", "skl2onnx", "numpy", "modelyard"):
        key.update(version(package).encode())
    folder = cache_dir() / "bench" / "models" / f"{name}-{seed}-{key.hexdigest()[:12]}"
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        from bench.serving.training import train  # noqa: PLC0415 - seconds of imports, needed once

        train(name, partial, np.random.default_rng(seed))
        partial.rename(folder)
    return Workload(name, folder, _requested_rows(name))


def draw_rows(name: str, rng: np.random.Generator, count: int) -> dict[str, Array]:
    """Rows as a model takes them, one array an input."""
    return _ROWS_OF[name](rng, count)


def _head(name: str, values: Array) -> dict[str, Any]:
    return {"name": name, "shape": values.shape, "datatype": "BYTES" if values.dtype == object else "FP32"}


def as_model_takes(values: Array) -> Array:
    """One input as ONNX Runtime takes it: numbers in single precision."""
    return values if values.dtype == object else values.astype(np.float32)


def _tensor_bytes(values: Array) -> bytes:
    if values.dtype != object:
        return bytes(values.astype("<f4").tobytes())
    texts = [text.encode() for text in values.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


@cache
def _answers(folder: Path, name: str) -> dict[str, Array]:
    session = open_session(folder / "model.onnx")
    outputs = [value.name for value in session.get_outputs()]
    inputs = {name: as_model_takes(values) for name, values in _requested_rows(name).items()}
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))


def _requested_rows(name: str) -> dict[str, Array]:
    return draw_rows(name, np.random.default_rng(_REQUESTED_SEED), 2 * max(ROWS))


def _matrix(columns: int) -> Callable[[np.random.Generator, int], dict[str, Array]]:
    return lambda rng, rows: {"input": rng.standard_normal((rows, columns))}


def _columns(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    numbers: dict[str, Array] = {
        f"number_{index}": rng.standard_normal((rows, 1)) * 10**index for index in range(_NUMERIC_COLUMNS)
    }
    for name, count in CATEGORIES.items():
        numbers[name] = np.array([f"{name}-{value}" for value in rng.integers(0, count, rows)], object).reshape(-1, 1)
    return numbers


_ROWS_OF: Final = {"gbt": _matrix(24), "mixed": _columns, "mlp": _matrix(64)}
