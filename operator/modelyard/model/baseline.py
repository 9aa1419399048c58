"""`baseline.json`: counts over the training data, in the bins that drift is measured in."""

from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from modelyard.model.base import Category, Count, Document, Kind, Name, Part, unique

BASELINE_FILE: Final = "baseline.json"
BASELINE_SCHEMA: Final = "modelyard.dev/baseline/v1"

Counts = Annotated[tuple[Count, ...], Field(min_length=1, max_length=10_000)]


class NumericProfile(Part):
    """Counts of a numeric column. Bin i is [edges[i], edges[i+1]), the last one closed."""

    name: Name
    kind: Literal[Kind.NUMERIC] = Kind.NUMERIC
    edges: Annotated[tuple[float, ...], Field(min_length=2, max_length=10_001)]
    counts: Counts
    below: Count = 0
    above: Count = 0
    missing: Count = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError(f"edges must be one more than counts ({len(self.counts)}), got {len(self.edges)}")
        constant = len(self.edges) == len(("low", "high")) and self.edges[0] == self.edges[1]
        if not constant and any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must be strictly increasing (one bin alone may have two equal edges)")
        return self


class CategoricalProfile(Part):
    """Counts of a categorical column; `other` counts what is in no category."""

    name: Name
    kind: Literal[Kind.CATEGORICAL] = Kind.CATEGORICAL
    categories: Annotated[tuple[Category, ...], Field(max_length=10_000)]
    counts: Annotated[tuple[Count, ...], Field(max_length=10_000)]
    other: Count = 0
    missing: Count = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.categories) != len(self.counts):
            raise ValueError(f"categories must be as many as counts ({len(self.counts)}), got {len(self.categories)}")
        unique(self.categories, "categories")
        return self


Profile = Annotated[NumericProfile | CategoricalProfile, Field(discriminator="kind")]
Profiles = Annotated[tuple[Profile, ...], Field(max_length=4096)]


class Baseline(Document):
    """Profiles of the features and outputs of `rows` rows.

    An output with several columns has one profile a column, named `<output>/<column>`, columns counted from 0.
    """

    schema_: Literal["modelyard.dev/baseline/v1"] = Field(default=BASELINE_SCHEMA, alias="schema")
    rows: Count
    features: Profiles = ()
    outputs: Profiles = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        unique(tuple(profile.name for profile in self.features), "names of features")
        unique(tuple(profile.name for profile in self.outputs), "names of outputs")
        return self
