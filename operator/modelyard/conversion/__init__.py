"""From a fitted model to a model directory (docs/contracts.md): ONNX, signature, baseline and golden examples."""

from modelyard.conversion.directory import write_model_directory
from modelyard.conversion.errors import ColumnError, ConversionError
from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.sklearn_export import Exported, export_estimator

__all__ = [
    "ColumnError",
    "ConversionError",
    "Exported",
    "OnnxModel",
    "export_estimator",
    "write_model_directory",
]
