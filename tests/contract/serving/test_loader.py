"""What a model directory must be to be served."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.serving.errors import StartError
from modelyard.serving.loader import load_model
from modelyard.serving.settings import Settings, read_settings
from modelyard.serving.verification import directory_digest

Spoil = Callable[[Path], None]


def settings_for(folder: Path, digest: str | None = None) -> Settings:
    return read_settings(
        {
            "MODELYARD_MODEL_DIR": str(folder),
            "MODELYARD_MODEL_NAME": "flight-delay",
            "MODELYARD_MODEL_VERSION": "7",
            "MODELYARD_MODEL_DIGEST": digest or directory_digest(folder),
            "MODELYARD_DEPLOYMENT": "flights",
        }
    )


def refusal(folder: Path, digest: str | None = None) -> tuple[str, str]:
    with pytest.raises(StartError) as refused:
        load_model(settings_for(folder, digest))
    return refused.value.reason, str(refused.value)


def edit_json(file: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def _flip_byte(folder: Path) -> None:
    file = folder / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _add_file(folder: Path) -> None:
    (folder / "more").write_text("")


def _remove_file(folder: Path) -> None:
    (folder / "baseline.json").unlink()


@pytest.mark.parametrize("spoil", [_flip_byte, _add_file, _remove_file])
def test_directory_that_is_not_the_named_one_is_refused(own_model_dir: Path, spoil: Spoil) -> None:
    digest = directory_digest(own_model_dir)
    spoil(own_model_dir)
    reason, message = refusal(own_model_dir, digest)
    assert reason == "DigestMismatch"
    assert message.endswith(f"not {digest}")


def test_directory_with_a_link_is_refused(own_model_dir: Path) -> None:
    digest = directory_digest(own_model_dir)
    (own_model_dir / "link").symlink_to("/etc/passwd")
    assert refusal(own_model_dir, digest)[0] == "DigestMismatch"


def test_directory_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none", "sha256:" + "0" * 64)[0] == "DigestMismatch"


def _truncate(folder: Path) -> None:
    file = folder / "model.onnx"
    file.write_bytes(file.read_bytes()[:-100])


def _no_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not an ONNX model")


def _custom_domain(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, folder / "model.onnx")


def _external_data_outside(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../secret.bin")
    model.graph.initializer.append(outside)
    onnx.save(model, folder / "model.onnx")


def _other_datatype(folder: Path) -> None:
    def edit(signature: Any) -> None:
        signature["inputs"][0]["datatype"] = "FP64"

    edit_json(folder / "modelyard.json", edit)
    edit_json(folder / "examples.json", lambda content: content["examples"][0]["inputs"][0].update(datatype="FP64"))


def _other_width(folder: Path) -> None:
    def edit(signature: Any) -> None:
        signature["outputs"][0]["shape"] = [-1, 1]

    edit_json(folder / "modelyard.json", edit)
    edit_json(folder / "examples.json", lambda content: content["examples"][0]["outputs"].pop(0))


def _no_signature(folder: Path) -> None:
    (folder / "modelyard.json").write_text("{}")


def _null_where_not_allowed(folder: Path) -> None:
    def edit(examples: Any) -> None:
        examples["examples"][0]["inputs"][1]["data"][0] = None

    edit_json(folder / "examples.json", edit)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_truncate, "model.onnx: "),
        (_no_onnx, "model.onnx: must be an ONNX model"),
        (_custom_domain, "found the domain 'com.example'"),
        (_external_data_outside, "../secret.bin"),
        (_other_datatype, "input 'distance': the signature says 'FP64', the graph has tensor(float)"),
        (_other_width, "output 'label': the signature says [-1, 1]"),
        (_no_signature, "modelyard.json: "),
        (_null_where_not_allowed, "inputs[1] 'hour'.data[0]: must be a number, got null"),
    ],
)
def test_invalid_model_is_refused(own_model_dir: Path, spoil: Spoil, message: str) -> None:
    spoil(own_model_dir)
    reason, found = refusal(own_model_dir)
    assert reason == "InvalidModel"
    assert message in found


def _other_value(content: Any) -> None:
    content["examples"][0]["outputs"][1]["data"][0] += 0.001


def _other_label(content: Any) -> None:
    content["examples"][0]["outputs"][0]["data"][0] = 5


def _other_shape(content: Any) -> None:
    content["examples"][0]["outputs"][0].update(shape=[1], data=[0])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_other_value, "examples[0].outputs 'probabilities': value 0: expected"),
        (_other_label, "examples[0].outputs 'label': value 0: expected 5, got"),
        (_other_shape, "examples[0].outputs 'label': expected the shape [1], got [3]"),
    ],
)
def test_model_that_answers_otherwise_than_its_examples_is_refused(
    own_model_dir: Path, edit: Callable[[Any], None], message: str
) -> None:
    edit_json(own_model_dir / "examples.json", edit)
    reason, found = refusal(own_model_dir)
    assert reason == "GoldenMismatch"
    assert message in found


def test_answer_within_the_tolerance_is_accepted(own_model_dir: Path) -> None:
    def edit(content: Any) -> None:
        content["examples"][0]["outputs"][1]["data"][0] += 0.00005

    edit_json(own_model_dir / "examples.json", edit)
    model = load_model(settings_for(own_model_dir))
    assert 0 < model.cost.of(1) <= model.cost.of(100)
