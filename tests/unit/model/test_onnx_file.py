from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelyard.model import InvalidModel
from modelyard.model.onnx_file import MAX_DEPTH, OnnxInterface, check_onnx_bytes, check_onnx_file
from tests.support.model_parts import doubling_model, wrap

INTERFACE = OnnxInterface(("distance",), ("value",))
VALID = doubling_model(opsets=("", "ai.onnx.ml")).SerializeToString()


def _external(location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.array([[2.0]], np.float32), "two")
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def _multiply(**options: str) -> onnx.NodeProto:
    return helper.make_node("Mul", ["distance", "two"], ["value"], **options)


def _branch(node: onnx.NodeProto, tensors: list[TensorProto]) -> onnx.GraphProto:
    return helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("value", 1, None)], tensors)


def _nested(node: onnx.NodeProto, tensors: list[TensorProto]) -> onnx.ModelProto:
    branch = _branch(node, tensors)
    return wrap([helper.make_node("If", ["condition"], ["value"], then_branch=branch, else_branch=branch)], [])


def _with_function(node: onnx.NodeProto, domain: str = "") -> onnx.ModelProto:
    model = doubling_model()
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function(domain, "f", ["distance", "two"], ["value"], [node], imports))
    return model


def _with_training(node: onnx.NodeProto) -> onnx.ModelProto:
    model = doubling_model()
    model.training_info.add().algorithm.CopyFrom(_branch(node, []))
    return model


def _constant(tensor: TensorProto) -> onnx.ModelProto:
    return wrap([helper.make_node("Constant", [], ["two"], value=tensor), _multiply()], [])


def _sparse(location: str) -> onnx.ModelProto:
    model = doubling_model()
    model.graph.sparse_initializer.add().values.CopyFrom(_external(location))
    return model


def _sparse_constant(location: str) -> onnx.ModelProto:
    sparse = onnx.SparseTensorProto()
    sparse.indices.CopyFrom(_external(location))
    return wrap([helper.make_node("Constant", [], ["two"], sparse_value=sparse), _multiply()], [])


def test_standard_model_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(VALID)
    assert check_onnx_file(tmp_path / "model.onnx", ()) == INTERFACE


CUSTOM = "com.example"


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(doubling_model(domain=CUSTOM), id="node"),
        pytest.param(doubling_model(opsets=("", CUSTOM)), id="opset-import"),
        pytest.param(_nested(_multiply(domain=CUSTOM), []), id="subgraph"),
        pytest.param(_with_function(_multiply(domain=CUSTOM)), id="function-body"),
        pytest.param(_with_function(_multiply(), domain=CUSTOM), id="function"),
        pytest.param(_with_training(_multiply(domain=CUSTOM)), id="training"),
    ],
)
def test_custom_operators_are_refused_wherever_they_hide(model: onnx.ModelProto) -> None:
    with pytest.raises(InvalidModel, match=r"com\.example"):
        check_onnx_bytes(model.SerializeToString(), ())


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda location: wrap([_multiply()], [_external(location)]), id="initializer"),
        pytest.param(lambda location: _nested(_multiply(), [_external(location)]), id="subgraph"),
        pytest.param(lambda location: _constant(_external(location)), id="attribute"),
        pytest.param(_sparse, id="sparse-initializer"),
        pytest.param(_sparse_constant, id="sparse-attribute"),
    ],
)
def test_external_data_is_read_from_listed_files_only(place: Callable[[str], onnx.ModelProto]) -> None:
    assert check_onnx_bytes(place("weights.bin").SerializeToString(), {"weights.bin"}).outputs == ("value",)
    for location in ("../weights.bin", "/etc/passwd", "other.bin", "./weights.bin", "", "*/_ORT_MEM_ADDR_/*"):
        with pytest.raises(InvalidModel, match="external data"):
            check_onnx_bytes(place(location).SerializeToString(), {"weights.bin"})


@given(st.binary(max_size=300))
def test_noise_is_refused_as_an_invalid_model(data: bytes) -> None:
    with pytest.raises(InvalidModel):
        check_onnx_bytes(data, ())


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
def test_damaged_model_is_refused_or_read_but_never_crashes(position: int, byte: int) -> None:
    damaged = VALID[:position] + bytes([byte]) + VALID[position + 1 :]
    try:
        check_onnx_bytes(damaged, ())
    except InvalidModel:
        return


@given(st.integers(1, len(VALID) - 1))
def test_model_that_is_cut_off_is_refused(size: int) -> None:
    """The graph is nearly all of the file, and what follows it says which operator sets are meant."""
    try:
        interface = check_onnx_bytes(VALID[:size], ())
    except InvalidModel:
        return
    assert interface == INTERFACE
    assert onnx.ModelProto.FromString(VALID[:size]).graph == onnx.ModelProto.FromString(VALID).graph


def test_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(InvalidModel, match="empty"):
        check_onnx_file(tmp_path / "model.onnx", ())
    with pytest.raises(InvalidModel, match="ORT format"):
        check_onnx_bytes(b"\x00\x00\x00\x00ORTM" + VALID, ())
    with pytest.raises(InvalidModel, match="no graph"):
        check_onnx_bytes(b"\x08\x09", ())


def test_nesting_is_bounded() -> None:
    graph = b""
    for _ in range(MAX_DEPTH):
        attribute = _field(6, graph)
        graph = _field(1, _field(5, attribute))
    with pytest.raises(InvalidModel, match="deep"):
        check_onnx_bytes(_field(7, graph), ())


def _field(number: int, content: bytes) -> bytes:
    size = len(content)
    encoded = bytearray()
    while True:
        encoded.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + bytes(encoded) + content


def test_long_lists_of_numbers_are_skipped_correctly() -> None:
    """Attributes are unpacked lists, so that a domain after them would be missed if a list were skipped too far."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["distance"],
        ["value"],
        domain="ai.onnx.ml",
        nodes_values=[float(number) for number in range(2000)],
        nodes_nodeids=list(range(2000)),
        nodes_modes=["BRANCH_LEQ"] * 2000,
    )
    opsets = ("", "ai.onnx.ml")
    assert check_onnx_bytes(wrap([node], [], opsets).SerializeToString(), ()) == INTERFACE
    with pytest.raises(InvalidModel, match=r"com\.example"):
        check_onnx_bytes(wrap([node, _multiply(domain=CUSTOM)], [], opsets).SerializeToString(), ())


def test_initializers_that_are_listed_as_inputs_are_no_inputs() -> None:
    model = doubling_model()
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("two", TensorProto.FLOAT, [1, 1]))
    assert check_onnx_bytes(model.SerializeToString(), ()) == INTERFACE
