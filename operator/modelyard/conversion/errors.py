"""What can go wrong on the way from a fitted model to a model directory."""


class ConversionError(ValueError):
    """A model cannot be converted, or its ONNX form answers differently; the message names what and why."""


class ColumnError(ValueError):
    """A column cannot be fed to a model; the message names the column and what is allowed."""
