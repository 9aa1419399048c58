"""What training code imports: parameters and inputs in, outputs, metrics and the model out.

It is a thin layer over files and environment variables (docs/contracts.md), so code in any language can do the same.
Code that uses it runs without a cluster, too: then everything is beneath `./modelyard`. Nothing heavy is imported until
a model is saved.
"""

import fcntl
import json
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.conversion.tensors import Columns
    from modelyard.model import ModelDirectory, Signature

__all__ = [
    "checkpoint_dir",
    "input",
    "inputs",
    "last_checkpoint",
    "log_metric",
    "log_progress",
    "on_preemption",
    "output",
    "parameters",
    "save_checkpoint",
    "save_model",
    "save_onnx",
    "seed",
]

_LOCAL: Final = Path("modelyard")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_METRIC: Final = re.compile(r"[^\x00-\x1f\x7f]{1,63}")
_COMPLETE: Final = "COMPLETE"
_TERMINATED: Final = 128 + signal.SIGTERM
_locks: Final[dict[Path, int]] = {}
"""Open files whose locks say that this program is alive."""


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
    _say({"name": name, "value": float(value)})


def log_progress(share: float) -> None:
    """Report how much of the step is done, from 0 to 1; it is shown while the step runs if its `progress` is `Live`.

    Raises:
        ValueError: it is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"progress must be from 0 to 1, got {share}")
    _say({"progress": float(share)})


def checkpoint_dir() -> Path:
    """Return the folder of the checkpoint, made when it is absent; what it holds when a step starts is the newest one.

    Most code needs only `last_checkpoint` and `save_checkpoint`. Code that writes to the folder itself removes the file
    `COMPLETE` first and makes it anew when everything is written.
    """
    folder = _folder("MODELYARD_CHECKPOINT_DIR", "checkpoint")
    folder.mkdir(parents=True, exist_ok=True)
    _hold_lock(folder)
    return folder


def last_checkpoint() -> Path | None:
    """Return the folder that the step goes on from, None when it starts anew."""
    folder = checkpoint_dir()
    return folder if (folder / _COMPLETE).is_file() else None


@contextmanager
def save_checkpoint() -> Iterator[Path]:
    """Write a checkpoint: gives an empty folder, which replaces the last checkpoint once it is filled.

        with sdk.save_checkpoint() as folder:
            (folder / "state.json").write_text(json.dumps(state))

    When the block raises, the last checkpoint stays. In a step of several nodes it is the one with rank 0 that saves.
    """
    folder = checkpoint_dir()
    new, old = folder.with_name(f".new-{folder.name}"), folder.with_name(f".old-{folder.name}")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir()
    yield new
    (new / _COMPLETE).touch()
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)


def on_preemption(save: Callable[[], None]) -> None:
    """Call a function when the pod is taken away, such as one that saves a last checkpoint; then end the program.

    It is called once, in the main thread, between two steps of the interpreter, and has the step's
    `checkpoint.gracePeriodSeconds`. Without it a program does not notice: the first process of a container is not ended
    by a signal that it has no handler for, so it is killed when its time is over.

    Args:
        save: takes and returns nothing.

    Raises:
        ValueError: it is not called from the main thread.
    """
    _hold_lock(checkpoint_dir())

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        save()
        sys.exit(_TERMINATED)

    signal.signal(signal.SIGTERM, end)


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


def _hold_lock(folder: Path) -> None:
    """Hold a lock as long as this program lives, so that nobody waits for its last checkpoint after that."""
    path = folder.with_name(folder.name + ".lock")
    if path not in _locks:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _locks[path] = descriptor


def _say(entry: Mapping[str, Any]) -> None:
    file = _folder("MODELYARD_METRICS_FILE", "metrics.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(entry) + "\n")


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
