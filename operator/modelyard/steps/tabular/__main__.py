"""`python -m modelyard.steps.tabular prepare|train`."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa

from modelyard import sdk
from modelyard.conversion.errors import ColumnError, ConversionError
from modelyard.model import InvalidModel
from modelyard.steps.tables import TableError
from modelyard.steps.tabular.parameters import ParameterError, parse_preparation, parse_training, unused

_USAGE: Final = 2
_MODEL: Final = "model"
_FEATURES: Final = "features"


def main(arguments: list[str]) -> int:
    """Run a step and return its exit code: 2 for wrong use, 1 for data or models that cannot be used."""
    steps: Mapping[str, Callable[[], None]] = {"prepare": _prepare, "train": _train}
    if len(arguments) != 1 or arguments[0] not in steps:
        return _failed(f"exactly one argument must be given: {' or '.join(steps)}", _USAGE)
    try:
        for name in unused(sdk.parameters()):
            _say(f"parameter '{name}' is not used by this step")
        steps[arguments[0]]()
    except ParameterError as error:
        return _failed(str(error), _USAGE)
    except (TableError, ColumnError, ConversionError, InvalidModel, FileNotFoundError, pa.ArrowException) as error:
        return _failed(str(error), 1)
    return 0


def _prepare() -> None:
    from modelyard.steps.tabular.prepare import prepare, write  # noqa: PLC0415 - `train` does not need it

    parameters = parse_preparation(sdk.parameters())
    prepared = prepare(sdk.inputs(), parameters, sdk.seed())
    for note in prepared.notes:
        _say(note)
    write(prepared, sdk.output(_FEATURES))


def _train() -> None:
    # Threads that spin at OpenMP's barriers take the processor from each other: six times slower on a busy node.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from modelyard.steps.tabular.train import features_folder, train  # noqa: PLC0415 - scikit-learn takes seconds

    training = parse_training(sdk.parameters())
    metrics = train(features_folder(sdk.inputs()), sdk.output(_MODEL), training, sdk.seed(), _say)
    for name, value in metrics.items():
        _say(f"{name} on the test rows: {value:.4f}")
        sdk.log_metric(name, value)


def _say(message: str) -> None:
    print(message, flush=True)  # noqa: T201 - a step's log is its standard output


def _failed(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
