"""A model in ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from modelyard.model import Datatype, InvalidModel, OutputTensor, Signature
from modelyard.serving.errors import StartError
from modelyard.serving.tensors import DTYPES, Array

_ORT_ERRORS_ONLY: Final = 3
_PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_HERE: Final = f"ONNX Runtime {onnxruntime.__version__} of this image"
_ORT_TYPES: Final = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}


class RunError(RuntimeError):
    """The model failed on a valid request."""


class Session:
    """Runs one model; thread-safe.

    Attributes:
        signature: What the model takes and gives.
    """

    def __init__(self, file: Path, signature: Signature, threads: int, device: str = "cpu") -> None:
        """Load the model onto a device, `cpu` or `cuda`.

        Raises:
            InvalidModel: ONNX Runtime refuses it, or its tensors are not those of the signature.
            StartError: `DeviceUnavailable`; ONNX Runtime itself would go on with the CPU.
        """
        provider = _PROVIDERS[device]
        if provider not in onnxruntime.get_available_providers():
            raise StartError("DeviceUnavailable", f"the device '{device}' is asked for, but {_HERE} has no {provider}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ORT_ERRORS_ONLY
        # Spinning burns several times the CPU of the work itself in a pod with little load.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=[provider])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no common base of their own
            raise InvalidModel(f"{file.name}: ONNX Runtime cannot load it: {error}") from None
        if provider not in self._session.get_providers():
            raise StartError("DeviceUnavailable", f"{_HERE} cannot use the device '{device}': its log says why")
        self._session.disable_fallback()
        _check_tensors("input", self._session.get_inputs(), {t.name: (t.datatype, t.shape) for t in signature.inputs})
        _check_tensors(
            "output", self._session.get_outputs(), {t.name: (t.datatype, t.shape) for t in signature.outputs}
        )
        self.signature = signature
        self._outputs = [tensor.name for tensor in signature.outputs]

    def run(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        """Run the model on validated inputs and return all outputs.

        Raises:
            RunError: ONNX Runtime failed; the message is for the log.
        """
        if rows == 0:
            return {tensor.name: _empty(tensor) for tensor in self.signature.outputs}
        try:
            return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
        except Exception as error:  # noqa: BLE001 - as above
            raise RunError(str(error)) from None


def _check_tensors(kind: str, graph: Sequence[Any], declared: Mapping[str, tuple[Datatype, tuple[int, ...]]]) -> None:
    found = {tensor.name: tensor for tensor in graph}
    for name, (datatype, shape) in declared.items():
        tensor = found[name]
        if _ORT_TYPES.get(tensor.type) is not datatype:
            raise InvalidModel(f"{kind} '{name}': the signature says '{datatype}', the graph has {tensor.type}")
        known = tensor.shape or shape
        fits = len(known) == len(shape) and all(
            not isinstance(size, int) or wanted == size for size, wanted in zip(known, shape, strict=True)
        )
        if not fits:
            raise InvalidModel(f"{kind} '{name}': the signature says {list(shape)}, the graph has {tensor.shape}")


def _empty(tensor: OutputTensor) -> Array:
    """Not every operator takes zero rows, so the model is not asked."""
    shape = [0, *(max(size, 0) for size in tensor.shape[1:])]
    return np.empty(shape, dtype=DTYPES[tensor.datatype])
