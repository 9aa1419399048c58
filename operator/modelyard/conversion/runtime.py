"""ONNX Runtime on the CPU, as servers run it: the same answers, in chunks of bounded size."""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from modelyard.conversion.errors import ConversionError
from modelyard.conversion.tensors import Columns, Tensors, encode, rows_of, take
from modelyard.model import Signature

CHUNK_ROWS: Final = 16_384
_QUIET: Final = 3


class OnnxModel:
    """A loaded model and its signature."""

    def __init__(self, model: Path | bytes, signature: Signature) -> None:
        """Load a model.

        Args:
            model: the file, or its bytes; external data needs the file.
            signature: what the model takes and answers.

        Raises:
            ConversionError: the runtime cannot load it.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no base class
            raise ConversionError(f"ONNX Runtime cannot load the model: {_first_line(error)}") from None
        self.signature = signature

    def run(self, tensors: Tensors) -> Tensors:
        """Return the outputs of one call.

        Raises:
            ConversionError: the runtime refuses the inputs, or the model lacks an output.
        """
        names = [tensor.name for tensor in self.signature.outputs]
        try:
            return dict(zip(names, self._session.run(names, tensors), strict=True))
        except Exception as error:  # noqa: BLE001 - as above
            raise ConversionError(f"ONNX Runtime cannot run the model: {_first_line(error)}") from None

    def predict(self, columns: Columns) -> Tensors:
        """Return the outputs for any number of rows.

        Raises:
            ColumnError: a column is absent or does not fit.
            ConversionError: the runtime refuses the inputs, or answers with another number of rows.
        """
        rows = rows_of(columns)
        parts = [self._chunk(take(columns, slice(at, at + CHUNK_ROWS))) for at in range(0, max(rows, 1), CHUNK_ROWS)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _chunk(self, columns: Columns) -> Tensors:
        outputs = self.run(encode(self.signature, columns))
        for name, values in outputs.items():
            if len(values) != rows_of(columns):
                raise ConversionError(f"output '{name}' has {len(values)} rows for {rows_of(columns)} rows of input")
        return outputs


def class_positions(labels: NDArray[Any], classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the position of each label among the classes, -1 for a label that is none of them."""
    positions = {name: index for index, name in enumerate(classes)}
    distinct, inverse = np.unique(labels.reshape(-1).astype(str), return_inverse=True)
    return np.array([positions.get(str(label), -1) for label in distinct], dtype=np.int64)[inverse]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:500] if str(error) else type(error).__name__
