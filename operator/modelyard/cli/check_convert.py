"""Whether a pickle converts, asked on a laptop: what the operator's Job would do, in the same sandbox."""

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NEEDED: Final = ("sklearn", "skl2onnx", "onnxruntime", "pandas")


class CheckError(Exception):
    """The check cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Checked:
    """What a person is told."""

    converts: bool
    text: str


def check_pickle(pickle: Path, samples: Path | None) -> Checked:
    """Convert a pickle in a sandbox into a folder that is thrown away.

    Args:
        pickle: The file.
        samples: Rows as the model was trained on; None = the samples file beside the pickle.

    Raises:
        CheckError: A file or a package is missing.
    """
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise CheckError(f"{', '.join(absent)} must be installed: pip install 'modelyard[training]'")
    for file in filter(None, (pickle, samples)):
        if not file.is_file():
            raise CheckError(f"'{file}' is no file")
    from modelyard.conversion.errors import SamplesInvalid  # noqa: PLC0415 - other commands need none of this
    from modelyard.conversion.samples import find_samples  # noqa: PLC0415
    from modelyard.conversion.sandbox import Refused, convert_in_sandbox  # noqa: PLC0415

    try:
        rows = samples or find_samples(pickle.parent)
        with tempfile.TemporaryDirectory() as folder:
            done = convert_in_sandbox(pickle, rows, Path(folder) / "model")
    except SamplesInvalid as error:
        raise CheckError(f"{error}; or name a file with --samples") from None
    except Refused as error:
        return Checked(converts=False, text=f"{error.reason}: {error}")
    return Checked(
        converts=True,
        text=f"{done.estimator} converts: its ONNX form differs by at most {done.maximum_difference:.2g} "
        f"on {done.rows} rows of {rows.name}",
    )
