"""Writing a model directory."""

from pathlib import Path
from typing import Final

import numpy as np

from modelyard.conversion.profile import baseline
from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.tensors import Columns, Tensors, encode, rows_of, take, to_tensor
from modelyard.model import Example, Examples, ModelDirectory, Signature, load_model_directory
from modelyard.model.baseline import BASELINE_FILE
from modelyard.model.directory import MODEL_FILE
from modelyard.model.examples import EXAMPLES_FILE
from modelyard.model.signature import SIGNATURE_FILE

TOLERANCE: Final = 1e-4
MAX_BASELINE_ROWS: Final = 200_000
_BATCH_ROWS: Final = 8


def write_model_directory(folder: Path, onnx: bytes, signature: Signature, sample: Columns) -> ModelDirectory:
    """Write model, signature, baseline and golden examples, and check them as a publisher does.

    Args:
        folder: where to write; made when it is absent.
        onnx: the model.
        signature: what it takes and answers.
        sample: rows as it was trained on, at least one.

    Raises:
        ConversionError: the model cannot be loaded or run.
        ColumnError: the sample lacks a column, or one does not fit.
        InvalidModel: the model breaks the format, such as by operators that are not standard.
    """
    model = OnnxModel(onnx, signature)
    chosen = take(sample, np.arange(0, rows_of(sample), max(1, -(-rows_of(sample) // MAX_BASELINE_ROWS))))
    inputs = encode(signature, chosen)
    folder.mkdir(parents=True, exist_ok=True)
    documents = {
        MODEL_FILE: onnx,
        SIGNATURE_FILE: signature.to_json(),
        BASELINE_FILE: baseline(signature, inputs, model.predict(chosen)).to_json(),
        EXAMPLES_FILE: _examples(model, inputs).to_json(),
    }
    for name, data in documents.items():
        (folder / name).write_bytes(data)
    return load_model_directory(folder)


def _examples(model: OnnxModel, inputs: Tensors) -> Examples:
    """Return a single row, a batch, and a row of which all is missing that may be."""
    rows = len(next(iter(inputs.values())))
    spread = np.unique(np.linspace(0, rows - 1, _BATCH_ROWS).astype(np.int64))
    requests = [_rows(inputs, spread[:1]), _rows(inputs, spread)]
    if missing := {tensor.name for tensor in model.signature.inputs if tensor.nullable}:
        requests.append({name: np.full_like(v, np.nan) if name in missing else v for name, v in requests[0].items()})
    return Examples(tolerance=TOLERANCE, examples=tuple(_example(model, request) for request in requests))


def _rows(inputs: Tensors, rows: np.ndarray) -> Tensors:
    return {name: values[rows] for name, values in inputs.items()}


def _example(model: OnnxModel, request: Tensors) -> Example:
    answers = model.run(request)
    signature = model.signature
    return Example(
        inputs=tuple(to_tensor(tensor.name, tensor.datatype, request[tensor.name]) for tensor in signature.inputs),
        outputs=tuple(to_tensor(tensor.name, tensor.datatype, answers[tensor.name]) for tensor in signature.outputs),
    )
