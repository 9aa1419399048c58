"""Small model directories for tests."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from modelyard.conversion.directory import write_model_directory
from modelyard.model import ModelDirectory, Signature


def write_linear_classifier(
    folder: Path, weights: dict[str, float], *, classes: tuple[str, str] = ("0", "1"), label: str | None = "late"
) -> ModelDirectory:
    """Write a binary classifier: the logistic function of weighted columns."""
    names = list(weights)
    nodes = [
        helper.make_node("Concat", names, ["features"], axis=1),
        helper.make_node(
            "LinearClassifier",
            ["features"],
            ["label", "probabilities"],
            domain="ai.onnx.ml",
            classlabels_ints=[int(name) for name in classes],
            coefficients=[*(-w for w in weights.values()), *weights.values()],
            intercepts=[0.0, 0.0],
            post_transform="LOGISTIC",
        ),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in names]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph(nodes, "linear", inputs, outputs), opset_imports=opsets, ir_version=10)
    signature: dict[str, Any] = {
        "task": "BinaryClassification",
        "label": label,
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1, 1], "kind": "Numeric"} for name in names],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2], "classes": list(classes)},
        ],
    }
    sample = {name: np.linspace(-1, 1, 20) for name in names}
    return write_model_directory(folder, model.SerializeToString(), Signature.model_validate(signature), sample)
