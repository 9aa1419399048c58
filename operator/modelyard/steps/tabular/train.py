"""`tabular/train@v1`: from features to a model directory that is ready to serve."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from modelyard.conversion.directory import write_model_directory
from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.sklearn_export import export_estimator
from modelyard.conversion.truth import pair
from modelyard.statistics.metrics import metrics_of, score
from modelyard.steps.tables import TableError, read_table
from modelyard.steps.tabular.parameters import Training
from modelyard.steps.tabular.pipeline import examples, pipeline


def features_folder(inputs: Mapping[str, Path]) -> Path:
    """Return the input that `prepare`, or anyone, wrote: the one with a folder `train`.

    Raises:
        TableError: there is not exactly one.
    """
    found = [folder for folder in inputs.values() if (folder / "train").is_dir()]
    if len(found) != 1:
        raise TableError(f"exactly one input must have a folder 'train', among: {', '.join(inputs) or 'no inputs'}")
    return found[0]


def train(
    features: Path, model: Path, training: Training, seed: int, report: Callable[[str], None]
) -> dict[str, float]:
    """Fit, convert, write the model directory and measure.

    Args:
        features: folder with `train` and, if it was kept apart, `test`.
        model: where the model directory is written.
        training: what to fit.
        seed: of all randomness.
        report: told about progress, in sentences.

    Returns:
        Metrics of the ONNX model on the test rows, by name.

    Raises:
        ParameterError: a parameter does not fit the data.
        TableError: the data cannot be used.
        ConversionError: the model cannot be converted exactly.
    """
    start = time.monotonic()
    data = examples(read_table(features / "train").to_pandas(), training)
    fitted = pipeline(training, data, seed)
    report(
        f"fitting {type(fitted[-1]).__name__} on {len(data.features):,} rows x {len(data.features.columns)} features"
    )
    fitted.fit(data.features, data.label)
    report(f"fitted after {time.monotonic() - start:.1f} s; converting to ONNX")
    exported = export_estimator(fitted, data.features, label=training.label)
    write_model_directory(model, exported.onnx, exported.signature, data.features)
    report(
        f"converted after {time.monotonic() - start:.1f} s: {len(exported.onnx):,} bytes, differs by at most "
        f"{exported.greatest_difference:.1g} from scikit-learn on {exported.compared_rows:,} rows"
    )
    if not (features / "test").is_dir():
        return {}
    rows = read_table(features / "test").to_pandas()
    predicted = pair(
        exported.signature, OnnxModel(exported.onnx, exported.signature).predict(rows), rows[training.label]
    )
    return {str(metric): score(metric, predicted) for metric in metrics_of(predicted)}
