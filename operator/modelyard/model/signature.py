"""`modelyard.json`: what a model takes and what it answers."""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from modelyard.model.base import Category, Datatype, Document, Kind, Name, Part, unique

SIGNATURE_FILE: Final = "modelyard.json"
SIGNATURE_SCHEMA: Final = "modelyard.dev/signature/v1"

Dimension = Annotated[int, Field(ge=-1, le=2_147_483_647)]
Shape = Annotated[tuple[Dimension, ...], Field(min_length=1, max_length=8)]
"""-1 stands for any size; the first dimension counts rows."""


class Task(StrEnum):
    """What the model was made for."""

    BINARY_CLASSIFICATION = "BinaryClassification"
    MULTICLASS_CLASSIFICATION = "MulticlassClassification"
    REGRESSION = "Regression"
    OTHER = "Other"

    @property
    def is_classification(self) -> bool:
        """Whether the model answers with classes."""
        return self in (Task.BINARY_CLASSIFICATION, Task.MULTICLASS_CLASSIFICATION)


class InputTensor(Part):
    """One input of the model."""

    name: Name
    datatype: Datatype
    shape: Shape
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    categories: Annotated[tuple[Category, ...], Field(max_length=100_000)] | None = None
    nullable: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 in self.shape:
            raise ValueError("shape must have dimensions of -1 or at least 1")
        if self.kind is Kind.CATEGORICAL and (self.minimum is not None or self.maximum is not None):
            raise ValueError("minimum and maximum must not be set for kind 'Categorical'")
        if self.kind is Kind.NUMERIC and self.categories is not None:
            raise ValueError("categories must not be set for kind 'Numeric'")
        if self.kind is Kind.NUMERIC and self.datatype is Datatype.BYTES:
            raise ValueError("datatype must not be 'BYTES' for kind 'Numeric'")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum must not be greater than maximum ({self.maximum}), got {self.minimum}")
        unique(self.categories or (), "categories")
        return self


class OutputTensor(Part):
    """One output of the model."""

    name: Name
    datatype: Datatype
    shape: Shape
    classes: Annotated[tuple[Category, ...], Field(min_length=1, max_length=100_000)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 in self.shape:
            raise ValueError("shape must have dimensions of -1 or at least 1")
        if self.classes is not None:
            unique(self.classes, "classes")
            if self.shape[-1] not in (-1, len(self.classes)):
                raise ValueError(f"classes must be as many as the last dimension of shape ({self.shape[-1]})")
        return self


class Signature(Document):
    """What the model takes and what it answers."""

    schema_: Literal["modelyard.dev/signature/v1"] = Field(default=SIGNATURE_SCHEMA, alias="schema")
    task: Task
    label: Name | None = None
    inputs: Annotated[tuple[InputTensor, ...], Field(min_length=1, max_length=4096)]
    outputs: Annotated[tuple[OutputTensor, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        unique(tuple(tensor.name for tensor in self.inputs), "names of inputs")
        unique(tuple(tensor.name for tensor in self.outputs), "names of outputs")
        if self.task.is_classification:
            self._check_classes()
        elif self.task is Task.REGRESSION and self.output("value") is None:
            raise ValueError("outputs must contain 'value' for task 'Regression'")
        return self

    def _check_classes(self) -> None:
        probabilities = self.output("probabilities")
        if self.output("label") is None or probabilities is None or probabilities.classes is None:
            raise ValueError(f"outputs must contain 'label', and 'probabilities' with classes, for task '{self.task}'")
        if self.task is Task.BINARY_CLASSIFICATION and len(probabilities.classes) != len(("negative", "positive")):
            raise ValueError(f"classes must be 2 for task '{self.task}', got {len(probabilities.classes)}")

    def input(self, name: str) -> InputTensor | None:
        """Return the input with this name."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def output(self, name: str) -> OutputTensor | None:
        """Return the output with this name."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)
