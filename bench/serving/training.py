"""The models: trained on made-up rows, converted, and written as the model directories that our server serves."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from bench.serving.workloads import CATEGORIES, Array, as_model_takes, draw_rows
from modelyard.conversion.directory import write_model_directory
from modelyard.conversion.sklearn_export import export_estimator
from modelyard.model import Signature

_TRAINING_ROWS: Final = 4000
_OPSETS: Final = {"": 18, "ai.onnx.ml": 3}


def train(name: str, folder: Path, rng: np.random.Generator) -> None:
    """Write the model directory of this name into a folder."""
    _BUILDERS[name](folder, rng)


def _truth(rng: np.random.Generator, values: Array) -> Array:
    scores = values @ rng.standard_normal(values.shape[1]) + rng.standard_normal(len(values))
    return np.asarray(scores > np.median(scores)).astype(np.int64)


def _build_gbt(folder: Path, rng: np.random.Generator) -> None:
    rows = draw_rows("gbt", rng, _TRAINING_ROWS)["input"].astype(np.float32)
    estimator = GradientBoostingClassifier(n_estimators=100, max_depth=4, random_state=0)
    _write_matrix_model(folder, estimator.fit(rows, _truth(rng, rows)), rows)


def _build_mlp(folder: Path, rng: np.random.Generator) -> None:
    rows = draw_rows("mlp", rng, _TRAINING_ROWS)["input"].astype(np.float32)
    network = MLPClassifier((1024, 512, 256), random_state=0, batch_size=500, tol=1, n_iter_no_change=1, max_iter=10)
    _write_matrix_model(folder, make_pipeline(StandardScaler(), network).fit(rows, _truth(rng, rows)), rows)


def _write_matrix_model(folder: Path, estimator: Any, rows: Array) -> None:
    converted = convert_sklearn(
        estimator,
        initial_types=[("input", FloatTensorType([None, rows.shape[1]]))],
        target_opset=_OPSETS,
        options={"zipmap": False},
    )
    signature = {
        "task": "BinaryClassification",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, rows.shape[1]], "kind": "Numeric"}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2], "classes": ["0", "1"]},
        ],
    }
    graph = converted.graph
    assert [value.name for value in graph.output] == ["label", "probabilities"]
    write_model_directory(folder, converted.SerializeToString(), Signature.model_validate(signature), {"input": rows})


def _build_mixed(folder: Path, rng: np.random.Generator) -> None:
    columns = {name: as_model_takes(values).ravel() for name, values in draw_rows("mixed", rng, _TRAINING_ROWS).items()}
    frame = pd.DataFrame(columns)
    numeric = [name for name in columns if name not in CATEGORIES]
    encode = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numeric),
            ("texts", OneHotEncoder(handle_unknown="ignore"), list(CATEGORIES)),
        ]
    )
    truth = _truth(rng, np.stack([columns[name] / np.std(columns[name]) for name in numeric], axis=1))
    exported = export_estimator(make_pipeline(encode, LogisticRegression(max_iter=500)).fit(frame, truth), frame)
    write_model_directory(folder, exported.onnx, exported.signature, frame)


_BUILDERS: Final = {"gbt": _build_gbt, "mixed": _build_mixed, "mlp": _build_mlp}
