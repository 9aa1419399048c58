"""What is in the rows, as one run leaves it for the next (docs/contracts.md, "The profile of the inputs")."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from modelyard.api.v1alpha1.common import ApiModel
from modelyard.storage.manifests import digest_of

SCHEMA: Final = "modelyard.dev/data-profile/v1"
PROFILE_FILE: Final = "profile.json"
QUANTILE_STEPS: Final = 100
TOP_CATEGORIES: Final = 64


class Kind(StrEnum):
    """What a value is. A number with a fraction is a Number, one without an Integer."""

    NUMBER = "Number"
    INTEGER = "Integer"
    TEXT = "Text"
    BOOLEAN = "Boolean"
    TIME = "Time"
    OTHER = "Other"


NUMERIC: Final = frozenset({Kind.NUMBER, Kind.INTEGER})


class CategoryCount(ApiModel):
    """How often a value is there."""

    value: str
    count: int


class ColumnProfile(ApiModel):
    """What is in one column.

    Attributes:
        name: name of the column.
        type: the narrowest type of all values, None when all are missing.
        kinds: how many values there are of each kind; their sum is the number of present values.
        missing: rows without a value; NaN is none.
        infinite: infinite numbers; they are in `kinds`, but in none of the following.
        minimum: the least number; seconds since 1970 for a Time. This and the next three are absent for other types.
        maximum: the greatest number.
        mean: their mean.
        quantiles: the quantiles 0 %, 1 %, … 100 %.
        distinct: how many distinct values there are; absent where they are not counted (Number, Time, Other).
        categories: the most frequent values, the most frequent first.
        categories_complete: are `categories` all values?
        duplicates: values that repeat another one; absent unless the column was expected to be unique.
    """

    name: str
    type: Kind | None = None
    kinds: Mapping[Kind, int] = Field(default_factory=dict)
    missing: int = 0
    infinite: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    quantiles: tuple[float, ...] = ()
    distinct: int | None = None
    categories: tuple[CategoryCount, ...] = ()
    categories_complete: bool = False
    duplicates: int | None = None

    @property
    def present(self) -> int:
        """How many values there are."""
        return sum(self.kinds.values())

    @property
    def finite(self) -> int:
        """How many finite numbers there are."""
        return self.kinds.get(Kind.INTEGER, 0) + self.kinds.get(Kind.NUMBER, 0) - self.infinite


class InputProfile(ApiModel):
    """What is in one input.

    Attributes:
        name: name of the input.
        rows: number of rows.
        duplicate_rows: rows that repeat another one, judged by all columns.
        schema_digest: of the names and types of the columns, whatever their order.
        columns: one entry a column, by name.
    """

    name: str
    rows: int
    duplicate_rows: int = 0
    schema_digest: str = ""
    columns: tuple[ColumnProfile, ...] = ()

    @property
    def by_name(self) -> dict[str, ColumnProfile]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}


class Profile(ApiModel):
    """What is in the inputs of a run."""

    schema_: Literal["modelyard.dev/data-profile/v1"] = Field(default=SCHEMA, alias="schema")
    inputs: tuple[InputProfile, ...] = ()

    def input(self, name: str) -> InputProfile | None:
        """Return the profile of one input, if it is there."""
        return next((known for known in self.inputs if known.name == name), None)

    def to_json(self) -> str:
        """Return the profile as a file has it."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def schema_digest(columns: tuple[ColumnProfile, ...]) -> str:
    """Return the digest of the names and types of columns, whatever their order."""
    schema = sorted((column.name, column.type or "") for column in columns)
    return digest_of(json.dumps(schema, separators=(",", ":")).encode())
