"""The files that a person registers as a pickled model. Light: nothing is imported to find them."""

from pathlib import Path
from typing import Final

from modelyard.conversion.errors import SamplesInvalid

PICKLE_FILE: Final = "model.pkl"
SAMPLES_FILES: Final = ("samples.parquet", "samples.csv", "samples.jsonl")


def find_samples(folder: Path) -> Path:
    """Return the table of sample rows beside a pickle.

    Raises:
        SamplesInvalid: there is none, or more than one.
    """
    found = [folder / name for name in SAMPLES_FILES if (folder / name).is_file()]
    if len(found) != 1:
        raise SamplesInvalid(
            f"exactly one of {', '.join(SAMPLES_FILES)} must lie beside {PICKLE_FILE}, there are {len(found)}: put "
            "some hundred rows there that the model was trained on, with the columns that it takes; the ONNX form is "
            "proven on them, and ranges, drift baseline and golden examples come from them"
        )
    return found[0]
