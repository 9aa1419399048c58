import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelyard.model import InvalidModel, load_model_directory
from tests.support.model_parts import BASELINE, EXAMPLES, SIGNATURE, write_model_directory


def _with(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    *parts, last = (int(part) if part.isdigit() else part for part in path.split("."))
    target: Any = changed
    for part in parts:
        target = target[part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return changed


def test_valid_directory_is_read(tmp_path: Path) -> None:
    model = load_model_directory(write_model_directory(tmp_path))
    assert model.signature.inputs[0].name == "distance"
    assert model.baseline.rows == 3
    assert model.examples.examples[0].outputs[0].data == (2.0, 3.0)
    assert model.model_file == tmp_path / "model.onnx"


def test_documents_survive_their_own_json(tmp_path: Path) -> None:
    model = load_model_directory(write_model_directory(tmp_path))
    for document in (model.signature, model.baseline, model.examples):
        assert type(document).from_json(document.to_json()) == document


@pytest.mark.parametrize("name", ["model.onnx", "modelyard.json", "baseline.json", "examples.json"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_model_directory(tmp_path) / name).unlink()
    with pytest.raises(InvalidModel, match=rf"^{name}: is missing"):
        load_model_directory(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", "modelyard.dev/signature/v2", "schema"),
        ("task", "Ranking", "task"),
        ("task", None, "task"),
        ("task", "BinaryClassification", "'label'"),
        ("surprise", 1, "surprise"),
        ("inputs", [], "inputs"),
        ("inputs.0.datatype", "FLOAT", r"inputs\[0\]\.datatype"),
        ("inputs.0.shape", [0, 1], r"inputs\[0\]: shape"),
        ("inputs.0.shape", [-2, 1], r"inputs\[0\]\.shape\[0\]"),
        ("inputs.0.kind", None, r"inputs\[0\]\.kind"),
        ("inputs.0.minimum", "low", r"inputs\[0\]\.minimum"),
        ("inputs.0.maximum", -1.0, "minimum must not be greater"),
        ("inputs.0.categories", ["a"], "categories must not be set"),
        ("inputs.0.datatype", "BYTES", "must not be 'BYTES'"),
        ("inputs.0.name", "distance\n", r"inputs\[0\]\.name"),
        ("inputs.0.name", "other", "model.onnx: graph inputs"),
        ("outputs.0.name", "other", "'value'"),
    ],
)
def test_wrong_signature_is_named_with_its_field(tmp_path: Path, path: str, value: Any, message: str) -> None:
    write_model_directory(tmp_path, signature=_with(SIGNATURE, path, value))
    with pytest.raises(InvalidModel, match=message):
        load_model_directory(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", None, None),
        ("features.0.name", "other", r"features\[0\]\.name: 'other'"),
        ("features.0.edges", [0.0, 1.0], "edges must be one more than counts"),
        ("features.0.edges", [0.0, 1.0, 1.0], "strictly increasing"),
        ("features.0.counts", [1, -1], r"counts\[1\]"),
        ("features.0.kind", "Ordinal", r"features\[0\]"),
        ("features.0", {"name": "distance", "kind": "Categorical", "categories": ["a"], "counts": [1]}, "kind"),
        ("features.0", {"name": "distance", "kind": "Categorical", "categories": ["a"], "counts": []}, "as many"),
        ("outputs.0.name", "value/0", None),
        ("outputs.0.name", "value/1", r"outputs\[0\]\.name"),
        ("outputs.0.name", "value/x", r"outputs\[0\]\.name"),
        ("rows", -1, "rows"),
    ],
)
def test_baseline_is_checked_against_the_signature(tmp_path: Path, path: str, value: Any, message: str | None) -> None:
    write_model_directory(tmp_path, baseline=_with(BASELINE, path, value))
    if message is None:
        load_model_directory(tmp_path)
        return
    with pytest.raises(InvalidModel, match=rf"^baseline\.json: .*{message}"):
        load_model_directory(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("examples", [], "examples"),
        ("tolerance", -0.1, "tolerance"),
        ("examples.0.inputs.0.name", "other", "must contain 'distance'"),
        ("examples.0.inputs.0.datatype", "FP64", "must be 'FP32'"),
        ("examples.0.inputs.0.shape", [1, 2], r"must fit \[-1, 1\]"),
        ("examples.0.inputs.0.shape", [3, 1], "must hold 3 values"),
        ("examples.0.inputs.0.data", [1, "x"], r"data\[1\]"),
        ("examples.0.inputs.0.data", [1, True], r"data\[1\]"),
        ("examples.0.outputs.0.name", "other", "'other' is not in"),
    ],
)
def test_examples_are_checked_against_the_signature(tmp_path: Path, path: str, value: Any, message: str) -> None:
    write_model_directory(tmp_path, examples=_with(EXAMPLES, path, value))
    with pytest.raises(InvalidModel, match=rf"^examples\.json: .*{message}"):
        load_model_directory(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": NaN}', "\x00"])
def test_document_that_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    (write_model_directory(tmp_path) / "baseline.json").write_text(text)
    with pytest.raises(InvalidModel, match=r"^baseline\.json: "):
        load_model_directory(tmp_path)


def test_links_and_second_names_are_refused(tmp_path: Path) -> None:
    """onnxruntime follows a hard link to weights outside of the directory."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"weights")
    folder = write_model_directory(tmp_path / "model")
    (folder / "weights.bin").hardlink_to(outside)
    with pytest.raises(InvalidModel, match=r"weights\.bin"):
        load_model_directory(folder)
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").symlink_to(outside)
    with pytest.raises(InvalidModel, match=r"weights\.bin"):
        load_model_directory(folder)


def test_number_of_files_is_bounded(tmp_path: Path) -> None:
    folder = write_model_directory(tmp_path / "model")
    for number in range(1001):
        (folder / f"file-{number}").touch()
    with pytest.raises(InvalidModel, match="at most 1000"):
        load_model_directory(folder)


def test_large_document_is_refused_unread(tmp_path: Path) -> None:
    folder = write_model_directory(tmp_path / "model")
    os.truncate(folder / "examples.json", 17 * 1024 * 1024)
    with pytest.raises(InvalidModel, match=r"^examples\.json: must be at most"):
        load_model_directory(folder)


def test_package_needs_no_numeric_library() -> None:
    script = "import sys, modelyard.model; print({'numpy', 'onnx', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
