"""What can go wrong on the way from a fitted model to a model directory; each error carries its reason."""

from typing import ClassVar


class ConversionError(ValueError):
    """A model cannot be converted, or its ONNX form answers differently; the message names what and why."""

    reason: ClassVar[str] = "NotConvertible"


class ParityFailed(ConversionError):  # noqa: N818 - named like its reason, as all that follow
    """The ONNX form answers differently than the original."""

    reason = "ParityFailed"


class PickleRefused(ConversionError):  # noqa: N818
    """A pickle is malformed, or asks for something that a model does not need; the message names it."""

    reason = "PickleRefused"


class VersionMismatch(ConversionError):  # noqa: N818
    """A pickle was written by another version of scikit-learn, which alone can read it reliably."""

    reason = "VersionMismatch"


class SamplesInvalid(ConversionError):  # noqa: N818
    """The sample rows are missing, cannot be read, or are not those of the model."""

    reason = "SamplesInvalid"


class ColumnError(ValueError):
    """A column cannot be fed to a model; the message names the column and what is allowed."""

    reason: ClassVar[str] = "SamplesInvalid"
