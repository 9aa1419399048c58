"""The model directory: the format that training writes, publishing checks and serving reads (docs/contracts.md)."""

from modelyard.model.base import Datatype, Kind
from modelyard.model.baseline import Baseline, CategoricalProfile, NumericProfile
from modelyard.model.directory import ModelDirectory, load_model_directory
from modelyard.model.errors import InvalidModel
from modelyard.model.examples import Example, Examples, Tensor, agrees
from modelyard.model.signature import InputTensor, OutputTensor, Signature, Task

__all__ = [
    "Baseline",
    "CategoricalProfile",
    "Datatype",
    "Example",
    "Examples",
    "InputTensor",
    "InvalidModel",
    "Kind",
    "ModelDirectory",
    "NumericProfile",
    "OutputTensor",
    "Signature",
    "Task",
    "Tensor",
    "agrees",
    "load_model_directory",
]
