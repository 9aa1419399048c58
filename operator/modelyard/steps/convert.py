"""The program of the init container `convert`: a pickle becomes a model directory (docs/conversion.md)."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelyard.api.v1alpha1.modelversion import Refusal
from modelyard.conversion.samples import PICKLE_FILE, find_samples
from modelyard.conversion.sandbox import Refused, convert_in_sandbox
from modelyard.steps import termination, workspace

MODEL: Final = "model"
"""Name of the input and of the output."""
REASONS: Final = {**{refusal.value: refusal.value for refusal in Refusal}, "InvalidModel": "InvalidModel"}
_LOG: Final = logging.getLogger(__name__)


def main() -> Mapping[str, Any]:
    """Convert the input and write the output and two metrics: `maximumDifference` and `rows`.

    Raises:
        Refused: with one of REASONS.
        SamplesInvalid: there are no sample rows.
    """
    source, output = workspace.inputs_folder() / MODEL, workspace.outputs_folder() / MODEL
    pickle = source / PICKLE_FILE
    if not pickle.is_file():
        raise Refused(Refusal.PICKLE_REFUSED, f"the artifact must hold '{PICKLE_FILE}', holds {_names(source)}")
    samples = find_samples(source)
    _LOG.info("converting %s (%.1f MB) with %s", pickle.name, pickle.stat().st_size / 1e6, samples.name)
    done = convert_in_sandbox(pickle, samples, output)
    shutil.copyfile(pickle, output / PICKLE_FILE)
    _LOG.info(
        "converted %s: differs by at most %.2g on %d rows (network of its own: %s)",
        done.estimator,
        done.maximum_difference,
        done.rows,
        "yes" if done.own_network else "no",
    )
    metrics = {"maximumDifference": done.maximum_difference, "rows": done.rows}
    lines = (json.dumps({"name": name, "value": value}) + "\n" for name, value in metrics.items())
    workspace.metrics_file().write_text("".join(lines), encoding="utf-8")
    return {}


def _names(folder: Path) -> str:
    return ", ".join(f"'{entry.name}'" for entry in sorted(folder.iterdir())[:10]) or "nothing"


if __name__ == "__main__":
    termination.run(main, REASONS)
