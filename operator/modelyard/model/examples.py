"""`examples.json`: golden requests with the answers that a healthy model gives."""

import math
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from modelyard.model.base import Datatype, Document, Name, Part, unique

EXAMPLES_FILE: Final = "examples.json"
EXAMPLES_SCHEMA: Final = "modelyard.dev/examples/v1"

Value = StrictBool | StrictInt | StrictFloat | StrictStr | None
"""One element of a tensor; None is a missing number (NaN)."""


def _fits(datatype: Datatype, value: Value) -> bool:
    if datatype is Datatype.BYTES:
        return isinstance(value, str)
    if datatype is Datatype.BOOL:
        return isinstance(value, bool)
    if isinstance(value, bool | str):
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return datatype.is_float


class Tensor(Part):
    """A tensor of the Open Inference Protocol V2, its data flat in row-major order."""

    name: Name
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...], Field(min_length=1, max_length=8)]
    datatype: Datatype
    data: Annotated[tuple[Value, ...], Field(max_length=10_000_000)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.data) != math.prod(self.shape):
            raise ValueError(f"data must hold {math.prod(self.shape)} values as shape says, got {len(self.data)}")
        for index, value in enumerate(self.data):
            if not _fits(self.datatype, value):
                raise ValueError(f"data[{index}] must be a value of datatype '{self.datatype}'")
        return self


Tensors = Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=4096)]


class Example(Part):
    """One request and its answer."""

    inputs: Tensors
    outputs: Tensors

    @model_validator(mode="after")
    def _check(self) -> Self:
        unique(tuple(tensor.name for tensor in self.inputs), "names of inputs")
        unique(tuple(tensor.name for tensor in self.outputs), "names of outputs")
        return self


class Examples(Document):
    """Golden requests, and how far an answer may be from the expected one."""

    schema_: Literal["modelyard.dev/examples/v1"] = Field(default=EXAMPLES_SCHEMA, alias="schema")
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.0001
    examples: Annotated[tuple[Example, ...], Field(min_length=1, max_length=1000)]


def agrees(actual: Value, expected: Value, tolerance: float) -> bool:
    """Whether an answer is the expected one: numbers within `tolerance * max(1, |expected|)`, all else when equal.

    A missing number (None or NaN) agrees with a missing number only.
    """
    if _missing(actual) or _missing(expected):
        return _missing(actual) and _missing(expected)
    if isinstance(actual, bool | str | None) or isinstance(expected, bool | str | None):
        return type(actual) is type(expected) and actual == expected
    if math.isinf(actual) or math.isinf(expected):
        return actual == expected
    return abs(actual - expected) <= tolerance * max(1.0, abs(expected))


def _missing(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
