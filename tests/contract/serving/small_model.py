"""A small real model in a model directory, as training would write it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMERIC = ("distance", "hour")
CATEGORICAL = ("carrier", "origin")
CARRIERS = ("AA", "B6", "ÜA")
ORIGINS = ("EWR", "JFK", "LGA")


def write_small_model(folder: Path) -> None:
    """Train on made-up flights and write the model directory."""
    folder.mkdir(parents=True)
    model = _train()
    (folder / "model.onnx").write_bytes(model)
    (folder / "modelyard.json").write_text(json.dumps(_signature()))
    (folder / "baseline.json").write_text(json.dumps({"schema": "modelyard.dev/baseline/v1", "rows": 400}))
    (folder / "examples.json").write_text(json.dumps(_examples(model)))


def _train() -> bytes:
    random = np.random.default_rng(7)
    rows = 400
    frame = pd.DataFrame(
        {
            "distance": random.uniform(80, 4983, rows).astype(np.float32),
            "hour": random.integers(0, 24, rows).astype(np.float32),
            "carrier": random.choice(CARRIERS, rows),
            "origin": random.choice(ORIGINS, rows),
        }
    )
    late = (frame["hour"] + random.normal(0, 6, rows) > 15).astype(int)
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                ("numeric", make_pipeline(SimpleImputer(), StandardScaler()), list(NUMERIC)),
                ("categorical", OneHotEncoder(handle_unknown="ignore"), list(CATEGORICAL)),
            ]
        ),
        LogisticRegression(),
    ).fit(frame, late)
    types = [(name, FloatTensorType([None, 1])) for name in NUMERIC]
    types += [(name, StringTensorType([None, 1])) for name in CATEGORICAL]
    onnx: bytes = to_onnx(
        pipeline, initial_types=types, options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3}
    ).SerializeToString()
    return onnx


def _signature() -> dict[str, Any]:
    numeric = {"datatype": "FP32", "shape": [-1, 1], "kind": "Numeric"}
    categorical = {"datatype": "BYTES", "shape": [-1, 1], "kind": "Categorical", "nullable": False}
    return {
        "schema": "modelyard.dev/signature/v1",
        "task": "BinaryClassification",
        "label": "late",
        "inputs": [
            {"name": "distance", **numeric, "minimum": 80.0, "maximum": 4983.0, "nullable": True},
            {"name": "hour", **numeric, "minimum": 0.0, "maximum": 23.0, "nullable": False},
            {"name": "carrier", **categorical, "categories": list(CARRIERS)},
            {"name": "origin", **categorical, "categories": list(ORIGINS)},
        ],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2], "classes": ["0", "1"]},
        ],
    }


def request_tensors(rows: list[tuple[float | None, float, str, str]]) -> list[dict[str, Any]]:
    """The request's inputs for rows of distance, hour, carrier, origin."""
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    datatypes = ("FP32", "FP32", "BYTES", "BYTES")
    return [
        {"name": name, "shape": [len(rows), 1], "datatype": datatype, "data": column}
        for name, datatype, column in zip((*NUMERIC, *CATEGORICAL), datatypes, columns, strict=True)
    ]


EXAMPLE_ROWS: list[tuple[float | None, float, str, str]] = [
    (1400, 7, "AA", "EWR"),
    (762.5, 21, "ÜA", "JFK"),
    (None, 18, "B6", "LGA"),
]


def _examples(model: bytes) -> dict[str, Any]:
    inputs = request_tensors(EXAMPLE_ROWS)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {
        tensor["name"]: np.array(tensor["data"], dtype=np.float32 if tensor["datatype"] == "FP32" else object).reshape(
            tensor["shape"]
        )
        for tensor in inputs
    }
    label, probabilities = session.run(["label", "probabilities"], feeds)
    outputs = [
        {"name": "label", "shape": list(label.shape), "datatype": "INT64", "data": label.ravel().tolist()},
        {
            "name": "probabilities",
            "shape": list(probabilities.shape),
            "datatype": "FP32",
            "data": probabilities.ravel().tolist(),
        },
    ]
    return {
        "schema": "modelyard.dev/examples/v1",
        "tolerance": 0.0001,
        "examples": [{"inputs": inputs, "outputs": outputs}],
    }


BODY = json.dumps({"inputs": request_tensors(EXAMPLE_ROWS)}).encode()
PATH = "/v2/models/flight-delay/infer"
