"""Small model directories, made from scratch with the onnx package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIGNATURE: dict[str, Any] = {
    "schema": "modelyard.dev/signature/v1",
    "task": "Regression",
    "label": "delay",
    "inputs": [{"name": "distance", "datatype": "FP32", "shape": [-1, 1], "kind": "Numeric", "minimum": 0.0}],
    "outputs": [{"name": "value", "datatype": "FP32", "shape": [-1, 1]}],
}
BASELINE: dict[str, Any] = {
    "schema": "modelyard.dev/baseline/v1",
    "rows": 3,
    "features": [{"name": "distance", "kind": "Numeric", "edges": [0.0, 1.0, 2.0], "counts": [1, 2]}],
    "outputs": [{"name": "value", "kind": "Numeric", "edges": [0.0, 4.0], "counts": [3]}],
}
EXAMPLES: dict[str, Any] = {
    "schema": "modelyard.dev/examples/v1",
    "tolerance": 0.0001,
    "examples": [
        {
            "inputs": [{"name": "distance", "shape": [2, 1], "datatype": "FP32", "data": [1, 1.5]}],
            "outputs": [{"name": "value", "shape": [2, 1], "datatype": "FP32", "data": [2.0, 3.0]}],
        }
    ],
}


def doubling_model(domain: str = "", opsets: tuple[str, ...] = ("",)) -> onnx.ModelProto:
    """Return a model that doubles its input."""
    nodes = [helper.make_node("Mul", ["distance", "two"], ["value"], domain=domain)]
    two = numpy_helper.from_array(np.array([[2.0]], np.float32), "two")
    return wrap(nodes, [two], opsets)


def wrap(
    nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], opsets: tuple[str, ...] = ("",)
) -> onnx.ModelProto:
    """Return a model from `distance` to `value`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("distance", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])],
        initializers,
    )
    imports = [helper.make_opsetid(domain, 3 if domain else 17) for domain in opsets]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def write_model_directory(folder: Path, **documents: dict[str, Any]) -> Path:
    """Write a valid model directory, with other documents where given (`signature`, `baseline`, `examples`)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(doubling_model().SerializeToString())
    (folder / "modelyard.json").write_text(json.dumps(documents.get("signature", SIGNATURE)))
    (folder / "baseline.json").write_text(json.dumps(documents.get("baseline", BASELINE)))
    (folder / "examples.json").write_text(json.dumps(documents.get("examples", EXAMPLES)))
    return folder
