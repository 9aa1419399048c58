from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

from modelyard.conversion.directory import write_model_directory
from modelyard.conversion.golden import mismatch
from modelyard.conversion.profile import profile
from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.sklearn_export import export_estimator
from modelyard.model import CategoricalProfile, Examples, Kind, NumericProfile, Signature


def doubler(operator: str = "Add", domain: str = "") -> bytes:
    node = helper.make_node(operator, ["x", "x"], ["y"], domain=domain)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("x", "y")]
    graph = helper.make_graph([node], "doubler", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


DOUBLER = Signature.model_validate(
    {
        "task": "Other",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "kind": "Numeric"}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
)


def test_directory_has_baseline_and_examples_of_the_sample(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": np.arange(100.0), "z": [1.0, None] * 50})
    fitted = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=1).fit(table, table["x"] > 50)
    exported = export_estimator(fitted, table)
    directory = write_model_directory(tmp_path / "model", exported.onnx, exported.signature, table)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "baseline.json",
        "examples.json",
        "model.onnx",
        "modelyard.json",
    ]
    baseline = directory.baseline
    assert [(feature.name, feature.missing) for feature in baseline.features] == [("x", 0), ("z", 50)]
    assert [output.name for output in baseline.outputs] == ["probabilities/1"]
    assert baseline.rows == 100
    requests = directory.examples.examples
    assert [request.inputs[0].shape for request in requests] == [(1, 1), (8, 1), (1, 1)]
    assert requests[2].inputs[0].data == (None,)
    assert mismatch(OnnxModel(directory.model_file, directory.signature), directory.examples) == ""


def test_model_of_another_origin_takes_a_matrix(tmp_path: Path) -> None:
    directory = write_model_directory(tmp_path, doubler(), DOUBLER, {"x": np.array([[1, 2], [3, 4.5]])})
    assert [profile.name for profile in directory.baseline.features] == ["x/0", "x/1"]
    assert directory.examples.examples[1].outputs[0].data == (2.0, 4.0, 6.0, 9.0)


def test_answer_that_changed_is_named(tmp_path: Path) -> None:
    directory = write_model_directory(tmp_path, doubler(), DOUBLER, {"x": np.array([[1, 2]])})
    other = OnnxModel(doubler("Mul"), DOUBLER)
    assert mismatch(other, directory.examples) == "examples[0]: y is 1.0, must be 2.0 within 0.0001"


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        (
            Kind.NUMERIC,
            np.array([0, 0, 1, np.nan], dtype=np.float32),
            {"counts": (2, 1), "missing": 1},
        ),
        (Kind.NUMERIC, np.array([np.nan], dtype=np.float32), {"edges": (0.0, 0.0), "counts": (0,), "missing": 1}),
        (Kind.NUMERIC, np.array([3, 3], dtype=np.float32), {"edges": (3.0, 3.0), "counts": (2,)}),
        (
            Kind.CATEGORICAL,
            np.array(["b", "a", "b", ""], dtype=object),
            {"categories": ("b", "a"), "counts": (2, 1), "other": 0, "missing": 1},
        ),
    ],
)
def test_profile(kind: Kind, values: np.ndarray, wanted: dict[str, object]) -> None:
    found = profile("x", kind, values)
    assert isinstance(found, NumericProfile if kind is Kind.NUMERIC else CategoricalProfile)
    assert {name: getattr(found, name) for name in wanted} == wanted


def test_rare_categories_are_counted_together() -> None:
    values = np.array([f"c{i}" for i in range(60) for _ in range(60 - i)], dtype=object)
    found = profile("x", Kind.CATEGORICAL, values)
    assert isinstance(found, CategoricalProfile)
    assert len(found.categories) == 50
    assert found.other == sum(range(1, 11))


def test_examples_survive_json(tmp_path: Path) -> None:
    directory = write_model_directory(tmp_path, doubler(), DOUBLER, {"x": np.array([[0.1, 1e-30]])})
    again = Examples.from_json((tmp_path / "examples.json").read_bytes())
    assert again == directory.examples
    assert mismatch(OnnxModel(doubler(), DOUBLER), again) == ""
    assert onnx.load(tmp_path / "model.onnx").graph.name == "doubler"
