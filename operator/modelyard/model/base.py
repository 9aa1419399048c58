"""What the three JSON documents of a model directory have in common."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelyard.model.errors import InvalidModel, describe

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Category = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]


class Kind(StrEnum):
    """How the values of a column are to be read."""

    NUMERIC = "Numeric"
    CATEGORICAL = "Categorical"


class Datatype(StrEnum):
    """Datatypes of the Open Inference Protocol V2."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def is_float(self) -> bool:
        """Whether values are floating-point numbers, which alone can be missing (NaN, in JSON `null`)."""
        return self.name.startswith("FP")

    @property
    def is_integer(self) -> bool:
        """Whether values are whole numbers."""
        return "INT" in self.name


class Part(BaseModel):
    """A part of a document. Unknown fields are refused: a typing error must not silently switch a check off."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )


class Document(Part):
    """A whole JSON document of the model directory."""

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse and validate.

        Raises:
            InvalidModel: the message names the field and what is allowed.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise InvalidModel(describe(error)) from None

    def to_json(self) -> bytes:
        """Return the document as JSON (UTF-8), without the fields that were left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def unique(values: tuple[str, ...], what: str) -> None:
    """Raise ValueError when a value occurs twice."""
    if len(set(values)) != len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"{what} must be unique, '{twice}' occurs twice")
