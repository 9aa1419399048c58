"""A model directory as a whole: every file is there, safe to load, and consistent with the others."""

import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from modelyard.model.baseline import BASELINE_FILE, Baseline
from modelyard.model.errors import InvalidModel
from modelyard.model.examples import EXAMPLES_FILE, Examples, Tensor
from modelyard.model.onnx_file import OnnxInterface, check_onnx_file
from modelyard.model.signature import SIGNATURE_FILE, InputTensor, OutputTensor, Shape, Signature

T = TypeVar("T", InputTensor, OutputTensor)

MODEL_FILE: Final = "model.onnx"
MAX_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
MAX_MODEL_BYTES: Final = 2 * 1024 * 1024 * 1024
MAX_FILES: Final = 1000


@dataclass(frozen=True)
class ModelDirectory:
    """The validated content of a model directory."""

    path: Path
    signature: Signature
    baseline: Baseline
    examples: Examples

    @property
    def model_file(self) -> Path:
        """The ONNX model."""
        return self.path / MODEL_FILE


def load_model_directory(path: Path) -> ModelDirectory:
    """Read and check a model directory. No model is loaded and no pickle is opened.

    Raises:
        InvalidModel: a file is missing, malformed, unsafe, or contradicts another; the message names file and field.
        OSError: the directory cannot be read.
    """
    files = _regular_files(path)
    with _naming(SIGNATURE_FILE):
        signature = Signature.from_json(_read(files, SIGNATURE_FILE))
    with _naming(MODEL_FILE):
        model = _existing(files, MODEL_FILE, MAX_MODEL_BYTES)
        check_interface(check_onnx_file(model, files.keys() - {MODEL_FILE}), signature)
    with _naming(BASELINE_FILE):
        baseline = Baseline.from_json(_read(files, BASELINE_FILE))
        check_baseline(baseline, signature)
    with _naming(EXAMPLES_FILE):
        examples = Examples.from_json(_read(files, EXAMPLES_FILE))
        check_examples(examples, signature)
    return ModelDirectory(path, signature, baseline, examples)


def check_interface(interface: OnnxInterface, signature: Signature) -> None:
    """Check that the graph takes and gives what the signature says.

    Raises:
        InvalidModel: names or their order differ.
    """
    declared = tuple(tensor.name for tensor in signature.inputs)
    if interface.inputs != declared:
        raise InvalidModel(
            f"graph inputs must be the inputs of {SIGNATURE_FILE} in the same order: "
            f"{_shown(declared)}, found {_shown(interface.inputs)}"
        )
    for tensor in signature.outputs:
        if tensor.name not in interface.outputs:
            raise InvalidModel(f"graph must have the output '{tensor.name}' of {SIGNATURE_FILE}")


def check_baseline(baseline: Baseline, signature: Signature) -> None:
    """Check that every profile is of an input or an output of the model.

    Raises:
        InvalidModel: a profile is of nothing, or of another kind.
    """
    for index, profile in enumerate(baseline.features):
        tensor = _tensor_of(profile.name, signature.input)
        if tensor is None:
            raise InvalidModel(
                f"features[{index}].name: '{profile.name}' is neither an input of {SIGNATURE_FILE} "
                f"nor '<input>/<column, counted from 0>'"
            )
        if tensor.kind is not profile.kind:
            raise InvalidModel(f"features[{index}].kind: must be '{tensor.kind}' as in {SIGNATURE_FILE}")
    for index, profile in enumerate(baseline.outputs):
        if _tensor_of(profile.name, signature.output) is None:
            raise InvalidModel(
                f"outputs[{index}].name: '{profile.name}' is neither an output of {SIGNATURE_FILE} "
                f"nor '<output>/<column, counted from 0>'"
            )


def check_examples(examples: Examples, signature: Signature) -> None:
    """Check that every golden request and answer fits the signature.

    Raises:
        InvalidModel: a tensor is missing, unknown, or of another datatype or shape.
    """
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    outputs = {tensor.name: tensor for tensor in signature.outputs}
    for index, example in enumerate(examples.examples):
        where = f"examples[{index}]"
        missing = inputs.keys() - {tensor.name for tensor in example.inputs}
        if missing:
            raise InvalidModel(f"{where}.inputs: must contain '{min(missing)}'")
        for position, tensor in enumerate(example.inputs):
            _check_tensor(f"{where}.inputs[{position}]", tensor, inputs)
        for position, tensor in enumerate(example.outputs):
            _check_tensor(f"{where}.outputs[{position}]", tensor, outputs)


def _check_tensor(where: str, tensor: Tensor, declared: Mapping[str, InputTensor] | Mapping[str, OutputTensor]) -> None:
    wanted = declared.get(tensor.name)
    if wanted is None:
        raise InvalidModel(f"{where}.name: '{tensor.name}' is not in {SIGNATURE_FILE}")
    if tensor.datatype is not wanted.datatype:
        raise InvalidModel(f"{where}.datatype: must be '{wanted.datatype}' as in {SIGNATURE_FILE}")
    if not _fits(tensor.shape, wanted.shape):
        raise InvalidModel(f"{where}.shape: must fit {list(wanted.shape)}, got {list(tensor.shape)}")


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(w in (-1, size) for size, w in zip(shape, wanted, strict=True))


def _tensor_of(name: str, find: Callable[[str], T | None]) -> T | None:
    """Return the tensor that a profile is of, by its name or by `<tensor>/<column>`."""
    tensor = find(name)
    if tensor is not None:
        return tensor
    base, _, column = name.rpartition("/")
    tensor = find(base)
    if tensor is None or not (column.isascii() and column.isdecimal()):
        return None
    return tensor if tensor.shape[-1] == -1 or int(column) < tensor.shape[-1] else None


@contextmanager
def _naming(file: str) -> Iterator[None]:
    try:
        yield
    except InvalidModel as error:
        raise InvalidModel(f"{file}: {error}") from None


def _regular_files(path: Path) -> Mapping[str, Path]:
    """Return the files beneath `path` by relative name; a file with a second name could be one from outside."""
    found: dict[str, Path] = {}
    folders = [path]
    while folders:
        for entry in folders.pop().iterdir():
            name, status = entry.relative_to(path).as_posix(), entry.lstat()
            if stat.S_ISDIR(status.st_mode):
                folders.append(entry)
            elif stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                found[name] = entry
            else:
                raise InvalidModel(f"{name}: must be a regular file with one name, not a link or special file")
            if len(found) + len(folders) > MAX_FILES:
                raise InvalidModel(f"must have at most {MAX_FILES} files and folders")
    return found


def _existing(files: Mapping[str, Path], name: str, limit: int) -> Path:
    if name not in files:
        raise InvalidModel("is missing")
    size = files[name].stat().st_size
    if size > limit:
        raise InvalidModel(f"must be at most {limit} bytes, is {size}")
    return files[name]


def _read(files: Mapping[str, Path], name: str) -> bytes:
    return _existing(files, name, MAX_DOCUMENT_BYTES).read_bytes()


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names[:8]) + (", …" if len(names) > 8 else "")  # noqa: PLR2004 - a screen line
