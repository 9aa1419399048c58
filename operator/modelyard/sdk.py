"""What training code imports: parameters and inputs in, outputs, metrics and the model out.

It is a thin layer over files and environment variables (docs/contracts.md), so code in any language can do the same.
Code that uses it runs without a cluster, too: then everything is beneath `./modelyard`. Nothing heavy is imported until
a model is saved.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.conversion.tensors import Columns
    from modelyard.model import ModelDirectory, Signature

__all__ = ["input", "inputs", "log_metric", "output", "parameters", "save_model", "save_onnx", "seed"]

_LOCAL: Final = Path("modelyard")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_METRIC: Final = re.compile(r"[^\x00-\x1f\x7f]{1,63}")


def parameters() -> dict[str, str]:
    """Return the run's parameters by name; all values are texts. Without a parameters file there are none."""
    found = _parameters_file().get("parameters", {})
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def seed() -> int:
    """Return the seed of the run, 0 by default."""
    text = os.environ.get("MODELYARD_SEED") or str(_parameters_file().get("seed", 0))
    if not text.isdecimal():
        raise ValueError(f"MODELYARD_SEED must be a whole number from 0, got '{text}'")
    return int(text)


def inputs() -> dict[str, Path]:
    """Return the folders of all inputs by name."""
    root = _folder("MODELYARD_INPUTS_DIR", "inputs")
    if not root.is_dir():
        return {}
    return {entry.name: entry for entry in sorted(root.iterdir()) if _NAME.fullmatch(entry.name) and entry.is_dir()}


def input(name: str) -> Path:  # noqa: A001 - `sdk.input("flights")` is what it is
    """Return the folder of an input.

    Raises:
        FileNotFoundError: the step has no such input; the message names those that there are.
    """
    found = inputs()
    if name not in found:
        there = ", ".join(found) or "none"
        raise FileNotFoundError(f"no input '{name}' in {_folder('MODELYARD_INPUTS_DIR', 'inputs')}: there are {there}")
    return found[name]


def output(name: str) -> Path:
    """Return the folder of an output, made when it is absent. The step must declare the output to have it kept.

    Raises:
        ValueError: the name is not allowed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"output must be named by lower-case letters, digits and '-', at most 40, got '{name}'")
    folder = _folder("MODELYARD_OUTPUTS_DIR", "outputs") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log_metric(name: str, value: float) -> None:
    """Report a metric; the last value of a name is the result.

    Raises:
        ValueError: the name is not allowed, or the value is not finite.
    """
    if not _METRIC.fullmatch(name):
        raise ValueError(f"a metric's name must be 1 to 63 printable characters, got '{name}'")
    if not math.isfinite(value):
        raise ValueError(f"metric '{name}' must be a finite number, got {value}")
    file = _folder("MODELYARD_METRICS_FILE", "metrics.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"name": name, "value": float(value)}) + "\n")


def save_model(
    estimator: Any, sample: "pd.DataFrame", *, label: str | None = None, name: str = "model"
) -> "ModelDirectory":
    """Convert a fitted scikit-learn estimator and write it, ready to serve, to the output `model`.

    The ONNX form is proven to answer like the estimator on the sample. Each column becomes an input of the endpoint:
    numbers as FP32, texts as BYTES.

    Args:
        estimator: a fitted classifier with probabilities, or regressor; a pipeline that encodes its texts.
        sample: rows as it was trained on, best all of them: ranges, categories, the baseline that drift is measured
            against and the golden examples come from them.
        label: column that holds the truth in data sets that the model is judged on.
        name: name of the output.

    Raises:
        ConversionError: the estimator or a column cannot be converted; the message says which and why.
    """
    from modelyard.conversion.directory import write_model_directory  # noqa: PLC0415 - seconds of imports
    from modelyard.conversion.sklearn_export import export_estimator  # noqa: PLC0415 - as above

    exported = export_estimator(estimator, sample, label=label)
    return write_model_directory(output(name), exported.onnx, exported.signature, sample)


def save_onnx(
    model: Path | bytes, signature: "Signature | Mapping[str, Any]", sample: "Columns", *, name: str = "model"
) -> "ModelDirectory":
    """Write an ONNX model of any origin, ready to serve, to the output `model`.

    Args:
        model: a file without external data, or its bytes.
        signature: what the model takes and answers, as in `modelyard.json`.
        sample: rows as it was trained on: a DataFrame with a column for each input, or an array for each.
        name: name of the output.

    Raises:
        InvalidModel: the signature or the model breaks the format.
        ConversionError: the runtime cannot load or run the model.
        ColumnError: the sample does not fit the signature.
    """
    from modelyard.conversion.directory import write_model_directory  # noqa: PLC0415 - seconds of imports
    from modelyard.model import Signature  # noqa: PLC0415 - as above

    if not isinstance(signature, Signature):
        signature = Signature.from_json(json.dumps(dict(signature)).encode())
    data = model.read_bytes() if isinstance(model, Path) else model
    return write_model_directory(output(name), data, signature, sample)


def _folder(variable: str, local: str) -> Path:
    return Path(os.environ.get(variable) or _LOCAL / local)


def _parameters_file() -> dict[str, Any]:
    file = _folder("MODELYARD_PARAMETERS_FILE", "parameters.json")
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} must be JSON: {error}") from None
    if not isinstance(content, dict):
        raise TypeError(f"{file} must hold a JSON object")
    return content
