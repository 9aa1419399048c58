"""A fitted scikit-learn estimator as ONNX: float32, one input a column, proven to answer like the original."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from modelyard.conversion.boosting import CONVERTERS
from modelyard.conversion.errors import ConversionError, ParityFailed
from modelyard.conversion.runtime import OnnxModel, class_positions
from modelyard.conversion.tensors import as_texts
from modelyard.model import Datatype, InputTensor, Kind, OutputTensor, Signature, Task

TOLERANCE: Final = 1e-4
"""Greatest difference to the original: absolute, or relative for values above 1."""
MAX_CATEGORIES: Final = 1000
"""Columns with more distinct texts are declared without categories."""
UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}unknown"

_PARITY_ROWS: Final = 5_000
_PROBE_ROWS: Final = 20
_MAX_EXACT_INTEGER: Final = 2**24
_OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
_BINARY: Final = 2


@dataclass(frozen=True)
class Exported:
    """An ONNX model, its signature, and how well it agrees with the original."""

    onnx: bytes
    signature: Signature
    greatest_difference: float
    compared_rows: int


def export_estimator(estimator: Any, sample: pd.DataFrame, *, label: str | None = None) -> Exported:
    """Convert a fitted classifier or regressor that takes a DataFrame.

    Args:
        estimator: a fitted estimator or pipeline.
        sample: rows as it was trained on, the more the better: ranges and categories are read from them, and both forms
            are compared on them. Columns are numbers or texts; a missing text is the empty text.
        label: name of what is predicted, as in data sets that the model is judged on.

    Raises:
        ConversionError: a column or the estimator cannot be converted.
        ParityFailed: ONNX Runtime answers differently.
    """
    frame = _normalised(sample)
    task, classes = _task(estimator)
    inputs = tuple(_declared(name, frame[name]) for name in frame.columns)
    signature = Signature(task=task, label=label, inputs=inputs, outputs=_outputs(task, classes))
    onnx = _convert(estimator, signature, frame)
    model = OnnxModel(onnx, signature)
    compared = sample.iloc[:: max(1, len(sample) // _PARITY_ROWS)]
    difference = _difference(estimator, model, compared)
    if difference > TOLERANCE:
        raise ParityFailed(
            f"the ONNX form of {_name(estimator)} differs by {difference:.2g} from the original on {len(compared)} "
            f"rows, at most {TOLERANCE} is allowed; numbers are served as float32, so train on float32; missing texts "
            "are served as empty ones; some options do not convert, such as missing numbers in a forest"
        )
    return Exported(onnx, _proven(estimator, model, sample), difference, len(compared))


def _normalised(sample: pd.DataFrame) -> pd.DataFrame:
    if sample.empty:
        raise ConversionError("sample must have at least one row and one column")
    if not all(isinstance(name, str) for name in sample.columns) or not sample.columns.is_unique:
        raise ConversionError("columns of sample must have unique names that are texts")
    return pd.DataFrame({name: _column(name, sample[name]) for name in sample.columns})


def _column(name: str, values: pd.Series) -> pd.Series:
    if pd.api.types.is_integer_dtype(values.dtype) and len(values) and values.abs().max() > _MAX_EXACT_INTEGER:
        raise ConversionError(f"column '{name}' has whole numbers beyond {_MAX_EXACT_INTEGER:,}, which float32 rounds")
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return pd.Series(values.to_numpy(dtype=np.float32, na_value=np.nan), values.index)
    if isinstance(values.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(values.dtype):
        return pd.Series(as_texts(values), values.index, dtype=object)
    raise ConversionError(f"column '{name}' has the type {values.dtype}, must be numbers or texts")


def _declared(name: str, values: pd.Series) -> InputTensor:
    if values.dtype == object:
        distinct = sorted(set(values) - {""})
        return InputTensor(
            name=name,
            datatype=Datatype.BYTES,
            shape=(-1, 1),
            kind=Kind.CATEGORICAL,
            categories=tuple(distinct) if len(distinct) <= MAX_CATEGORIES else None,
        )
    finite = values[np.isfinite(values)]
    return InputTensor(
        name=name,
        datatype=Datatype.FP32,
        shape=(-1, 1),
        kind=Kind.NUMERIC,
        minimum=float(finite.min()) if len(finite) else None,
        maximum=float(finite.max()) if len(finite) else None,
        nullable=True,
    )


def _task(estimator: Any) -> tuple[Task, tuple[str, ...]]:
    if not hasattr(estimator, "predict"):
        raise ConversionError(f"{_name(estimator)} must be a fitted classifier or regressor")
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return Task.REGRESSION, ()
    if not hasattr(estimator, "predict_proba"):
        raise ConversionError(f"{_name(estimator)} gives no probabilities; wrap it in CalibratedClassifierCV")
    names = np.asarray(classes)
    if names.dtype.kind not in "biuUOT":
        raise ConversionError(f"classes of {_name(estimator)} must be whole numbers or texts, not {names.dtype}")
    names = names.astype(np.int64) if names.dtype.kind == "b" else names
    task = Task.BINARY_CLASSIFICATION if len(names) == _BINARY else Task.MULTICLASS_CLASSIFICATION
    return task, tuple(str(name) for name in names)


def _outputs(task: Task, classes: tuple[str, ...]) -> tuple[OutputTensor, ...]:
    if task is Task.REGRESSION:
        return (OutputTensor(name="value", datatype=Datatype.FP32, shape=(-1, 1)),)
    whole = all(name.removeprefix("-").isdecimal() for name in classes)
    return (
        OutputTensor(name="label", datatype=Datatype.INT64 if whole else Datatype.BYTES, shape=(-1,)),
        OutputTensor(name="probabilities", datatype=Datatype.FP32, shape=(-1, len(classes)), classes=classes),
    )


def _convert(estimator: Any, signature: Signature, frame: pd.DataFrame) -> bytes:
    types = [
        (tensor.name, StringTensorType([None, 1]) if tensor.datatype is Datatype.BYTES else FloatTensorType([None, 1]))
        for tensor in signature.inputs
    ]
    try:
        model = convert_sklearn(
            _by_column(estimator, frame),
            name="modelyard",
            initial_types=types,
            target_opset=_OPSETS,
            options={"zipmap": False} if signature.task.is_classification else None,
            custom_conversion_functions=CONVERTERS,
        )
    except Exception as error:  # noqa: BLE001 - skl2onnx raises anything for what it does not support
        said = " ".join(str(error).split())[:500]
        raise ConversionError(
            f"{_name(estimator)} cannot be converted to ONNX: {type(error).__name__}: {said}"
        ) from None
    graph = model.graph
    wanted = [tensor.name for tensor in signature.outputs]
    if len(graph.input) != len(types) or len(graph.output) != len(wanted):
        raise ConversionError(
            f"the ONNX form of {_name(estimator)} has {len(graph.input)} inputs and {len(graph.output)} outputs, "
            f"must have {len(types)} and {len(wanted)}"
        )
    # skl2onnx rewrites names that are no identifiers.
    _rename(graph, {value.name: name for value, (name, _) in zip(graph.input, types, strict=True)})
    _rename(graph, {value.name: name for value, name in zip(graph.output, wanted, strict=True)})
    # skl2onnx keeps them in a set, whose order is another one in each process.
    imports = sorted(model.opset_import, key=lambda imported: imported.domain)
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return bytes(model.SerializeToString(deterministic=True))


def _by_column(estimator: Any, frame: pd.DataFrame) -> Any:
    """Return a pipeline that begins with columns: skl2onnx feeds several inputs to nothing else."""
    steps = getattr(estimator, "steps", None)
    if steps and isinstance(steps[0][1], ColumnTransformer):
        return estimator
    columns = ColumnTransformer([("all", "passthrough", list(frame.columns))]).fit(frame)
    return Pipeline([("columns", columns), ("model", estimator)])


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    changed = {old: new for old, new in names.items() if old != new}
    # Another value of the graph may have one of the new names.
    taken = {value: f"{value}.inner" for value in changed.values()}
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [changed.get(value, taken.get(value, value)) for value in values]
    for initializer in graph.initializer:
        initializer.name = taken.get(initializer.name, initializer.name)
    for value in (*graph.input, *graph.output):
        value.name = changed.get(value.name, value.name)


def _difference(estimator: Any, model: OnnxModel, frame: pd.DataFrame) -> float:
    answers = model.predict(frame)
    if model.signature.task is Task.REGRESSION:
        expected = np.asarray(estimator.predict(frame), dtype=np.float64).reshape(-1, 1)
        return _greatest(answers["value"], expected)
    expected = np.asarray(estimator.predict_proba(frame), dtype=np.float64)
    return max(_greatest(answers["probabilities"], expected), _label_difference(model.signature, answers, expected))


def _label_difference(signature: Signature, answers: Mapping[str, NDArray[Any]], expected: NDArray[Any]) -> float:
    """Return by how much the answered labels are less likely than the likeliest ones."""
    probabilities = signature.output("probabilities")
    classes = probabilities.classes if probabilities else None
    positions = class_positions(answers["label"], classes or ())
    if (positions < 0).any():
        return float("inf")
    return float((expected.max(axis=1) - expected[np.arange(len(expected)), positions]).max())


def _greatest(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    if actual.shape != expected.shape or (np.isnan(actual) != np.isnan(expected)).any():
        return float("inf")
    scaled = np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.nan_to_num(scaled).max(initial=0.0))


def _proven(estimator: Any, model: OnnxModel, frame: pd.DataFrame) -> Signature:
    """Return the signature with numbers nullable where missing ones are provably answered alike.

    Raises:
        ConversionError: an unknown text makes the model fail.
    """
    texts = [tensor.name for tensor in model.signature.inputs if tensor.kind is Kind.CATEGORICAL]
    probe = frame.iloc[:_PROBE_ROWS].assign(**dict.fromkeys(texts, UNKNOWN))
    if texts and not _alike(estimator, model, probe):
        raise ConversionError(
            f"{_name(estimator)} fails on texts that it was not trained on: set handle_unknown of its encoder to "
            "'ignore' (OneHotEncoder) or 'use_encoded_value' (OrdinalEncoder)"
        )
    probe = probe.assign(**{name: np.float32(np.nan) for name in probe.columns if name not in texts})
    if _alike(estimator, model, probe):
        return model.signature
    inputs = tuple(
        tensor.model_copy(update={"nullable": tensor.nullable and bool(frame[tensor.name].isna().any())})
        for tensor in model.signature.inputs
    )
    return model.signature.model_copy(update={"inputs": inputs})


def _alike(estimator: Any, model: OnnxModel, frame: pd.DataFrame) -> bool:
    try:
        return _difference(estimator, model, frame) <= TOLERANCE
    except ValueError:
        return False


def _name(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__
