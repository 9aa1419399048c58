"""A model that answers with what it was asked, for any datatypes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

Shape = tuple[int, ...]


def write_identity_model(folder: Path, inputs: Mapping[str, tuple[str, Shape]], *, nullable: bool = False) -> None:
    """Write a model directory whose output `<name>_out` is its input `<name>`, each of a datatype and a shape."""
    folder.mkdir(parents=True)
    onnx.save(_graph(inputs), folder / "model.onnx")
    tensors = [{"name": name, "datatype": datatype, "shape": shape} for name, (datatype, shape) in inputs.items()]
    signature = {
        "schema": "modelyard.dev/signature/v1",
        "task": "Other",
        "inputs": [
            {
                **tensor,
                "kind": "Categorical" if tensor["datatype"] == "BYTES" else "Numeric",
                "nullable": nullable and str(tensor["datatype"]).startswith("FP"),
            }
            for tensor in tensors
        ],
        "outputs": [{**tensor, "name": f"{tensor['name']}_out"} for tensor in tensors],
    }
    example = [_example(name, datatype, shape) for name, (datatype, shape) in inputs.items()]
    answer = [{**tensor, "name": f"{tensor['name']}_out"} for tensor in example]
    for name, content in {
        "modelyard.json": signature,
        "baseline.json": {"schema": "modelyard.dev/baseline/v1", "rows": 1},
        "examples.json": {
            "schema": "modelyard.dev/examples/v1",
            "examples": [{"inputs": example, "outputs": answer}],
        },
    }.items():
        (folder / name).write_text(json.dumps(content))


def _graph(inputs: Mapping[str, tuple[str, Shape]]) -> onnx.ModelProto:
    def value(name: str, datatype: str, shape: Shape) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], [None if s == -1 else s for s in shape])

    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in inputs],
        "identity",
        [value(name, *tensor) for name, tensor in inputs.items()],
        [value(f"{name}_out", *tensor) for name, tensor in inputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _example(name: str, datatype: str, shape: Shape) -> dict[str, Any]:
    sizes = [max(size, 1) for size in shape]
    count = 1
    for size in sizes:
        count *= size
    value: Any = "text" if datatype == "BYTES" else True if datatype == "BOOL" else 1
    return {"name": name, "datatype": datatype, "shape": sizes, "data": [value] * count}
