"""The ONNX Runtime code that every peer shares: one thread, no spinning, inputs decoded once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Array = NDArray[Any]
Request = Mapping[str, Any]
"""An inference request of the Open Inference Protocol, decoded from JSON."""

_DTYPES = {"tensor(float)": np.float32, "tensor(string)": np.object_}
_DATATYPES = {"f": "FP32", "i": "INT64"}


def open_session(path: Path) -> ort.InferenceSession:
    """Load a model for one core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def datatype(array: Array) -> str:
    return _DATATYPES[array.dtype.kind]


class OnnxModel:
    """A loaded model."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        self._dtypes: dict[str, Any] = {value.name: _DTYPES[value.type] for value in self._session.get_inputs()}
        self.outputs: list[str] = [value.name for value in self._session.get_outputs()]

    def array(self, name: str, shape: Sequence[int], data: Sequence[Any]) -> Array:
        """One input as the model takes it."""
        return np.array(data, dtype=self._dtypes[name]).reshape(shape)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(self.outputs, self._session.run(self.outputs, inputs), strict=True))

    def answer(self, request: Request) -> dict[str, Any]:
        """Answer one request."""
        return _answer(self.run(self._decode(request)))

    def answer_all(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        """Answer several requests by one run."""
        decoded = [self._decode(request) for request in requests]
        outputs = self.run({name: np.concatenate([one[name] for one in decoded]) for name in self._dtypes})
        ends = np.cumsum([len(next(iter(one.values()))) for one in decoded])[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        return [_answer({name: arrays[index] for name, arrays in parts.items()}) for index in range(len(requests))]

    def _decode(self, request: Request) -> dict[str, Array]:
        return {t["name"]: self.array(t["name"], t["shape"], t["data"]) for t in request["inputs"]}


def _answer(outputs: Mapping[str, Array]) -> dict[str, Any]:
    """An answer for orjson, which writes arrays as they are."""
    tensors = [
        {"name": name, "datatype": datatype(array), "shape": array.shape, "data": array.ravel()}
        for name, array in outputs.items()
    ]
    return {"model_name": "bench", "outputs": tensors}
