"""Parameters of the tabular steps: texts in, validated values out. Pure."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from modelyard.model import Task


class ParameterError(ValueError):
    """A parameter is not allowed; the message names it and what is."""

    def __init__(self, name: str, allowed: str, got: str) -> None:
        super().__init__(f"parameter '{name}' {allowed}, got '{got}'")


class Estimator(StrEnum):
    """What is fitted."""

    GRADIENT_BOOSTING = "gradientBoosting"
    RANDOM_FOREST = "randomForest"
    LOGISTIC_REGRESSION = "logisticRegression"
    LINEAR_REGRESSION = "linearRegression"

    @property
    def has_trees(self) -> bool:
        """Whether it is made of trees, which need no scaling and take ordered codes for texts."""
        return self in (Estimator.GRADIENT_BOOSTING, Estimator.RANDOM_FOREST)


class Split(StrEnum):
    """Which rows are kept for the test."""

    LATEST = "latest"
    RANDOM = "random"


class Comparison(StrEnum):
    """How a column is compared to make a label of true and false."""

    GREATER_OR_EQUAL = ">="
    LESS_OR_EQUAL = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True)
class Label:
    """What is predicted: a column, or whether it compares to a number as asked."""

    column: str
    comparison: Comparison | None = None
    number: float = 0.0
    name: str = ""
    """Column of the prepared tables that holds it."""


@dataclass(frozen=True)
class Join:
    """An input whose columns are added where the keys are equal."""

    input: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Preparation:
    """Parameters of `prepare`."""

    label: Label
    joins: tuple[Join, ...]
    features: tuple[str, ...]
    """Columns to keep; empty = all, the excluded and those of label and time aside."""
    exclude: tuple[str, ...]
    categorical: tuple[str, ...]
    time_column: str
    split: Split
    train_until: str
    test_fraction: float
    deduplicate: bool


@dataclass(frozen=True)
class Training:
    """Parameters of `train`. None = the estimator's own default."""

    label: str
    time_column: str
    estimator: Estimator | None
    """None = gradientBoosting."""
    task: Task | None
    """None = told from the label's values."""
    iterations: int | None
    max_depth: int | None
    max_leaf_nodes: int | None
    min_leaf_rows: int | None
    learning_rate: float | None
    regularization: float | None
    max_categories: int


_PREPARATION: Final = (
    "label",
    "labelName",
    "join",
    "features",
    "exclude",
    "categorical",
    "timeColumn",
    "split",
    "trainUntil",
    "testFraction",
    "deduplicate",
)
_TUNING: Final = ("iterations", "maxDepth", "maxLeafNodes", "minLeafRows", "learningRate", "regularization")
_TRAINING: Final = ("estimator", "task", "maxCategories", *_TUNING)
_KNOWN: Final = frozenset((*_PREPARATION, *_TRAINING))
_USED: Final = {
    Estimator.GRADIENT_BOOSTING: frozenset(_TUNING),
    Estimator.RANDOM_FOREST: frozenset({"iterations", "maxDepth", "maxLeafNodes", "minLeafRows"}),
    Estimator.LOGISTIC_REGRESSION: frozenset({"iterations", "regularization"}),
    Estimator.LINEAR_REGRESSION: frozenset[str](),
}
_SIMILAR: Final = 0.85
_LABEL: Final = re.compile(r"\s*(?P<column>.+?)\s*(?:(?P<comparison>>=|<=|==|!=|>|<)\s*(?P<number>\S+)\s*)?")
_DATASET_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")

E = TypeVar("E", bound=StrEnum)


def parse_preparation(texts: Mapping[str, str]) -> Preparation:
    """Read the parameters of `prepare`.

    Raises:
        ParameterError: one is missing, malformed, contradicts another, or looks like a misspelt one.
    """
    _refuse_misspelt(texts)
    features, exclude = _names(texts, "features"), _names(texts, "exclude")
    if features and exclude:
        raise ParameterError("exclude", "must be absent when 'features' is set", texts["exclude"])
    split = _choice(texts, "split", Split, Split.LATEST)
    time_column = texts.get("timeColumn", "").strip()
    if split is Split.LATEST and not time_column:
        raise ParameterError(
            "timeColumn", "must name the column that orders rows in time, or set 'split' to 'random'", ""
        )
    train_until = texts.get("trainUntil", "").strip()
    if train_until and ("testFraction" in texts or split is not Split.LATEST):
        raise ParameterError(
            "trainUntil", "must be absent when 'testFraction' is set or 'split' is 'random'", train_until
        )
    return Preparation(
        label=parse_label(texts),
        joins=_joins(texts.get("join", "")),
        features=features,
        exclude=exclude,
        categorical=_names(texts, "categorical"),
        time_column=time_column,
        split=split,
        train_until=train_until,
        test_fraction=_number(texts, "testFraction", 0.01, 0.9) or 0.2,
        deduplicate=_flag(texts, "deduplicate", default=True),
    )


def parse_training(texts: Mapping[str, str]) -> Training:
    """Read the parameters of `train`; those of `prepare` in the same run are known, too.

    Raises:
        ParameterError: one is missing, malformed, not used by the estimator, or looks like a misspelt one.
    """
    _refuse_misspelt(texts)
    estimator = _choice(texts, "estimator", Estimator, None)
    used = _USED[estimator or Estimator.GRADIENT_BOOSTING]
    for name in _TUNING:
        if name in texts and name not in used:
            takes = ", ".join(sorted(used)) or "none of them"
            raise ParameterError(name, f"is not used by the estimator {estimator}, which takes {takes}", texts[name])
    return Training(
        label=parse_label(texts).name,
        time_column=texts.get("timeColumn", "").strip(),
        estimator=estimator,
        task=_choice(texts, "task", Task, None),
        iterations=_whole(texts, "iterations", 1, 10_000),
        max_depth=_whole(texts, "maxDepth", 1, 64),
        max_leaf_nodes=_whole(texts, "maxLeafNodes", 2, 65_536),
        min_leaf_rows=_whole(texts, "minLeafRows", 1, 1_000_000),
        learning_rate=_number(texts, "learningRate", 0.0001, 1.0),
        regularization=_number(texts, "regularization", 0.0, 1e6),
        max_categories=_whole(texts, "maxCategories", 1, 1000) or 100,
    )


def parse_label(texts: Mapping[str, str]) -> Label:
    """Read `label`, such as `arr_delay` or `arr_delay > 15`, and `labelName`.

    Raises:
        ParameterError: `label` is missing or malformed.
    """
    text = texts.get("label", "")
    match = _LABEL.fullmatch(text)
    allowed = "must be a column, or a column compared with a number such as 'delay > 15'"
    if match is None or not text.strip():
        raise ParameterError("label", allowed, text)
    column, comparison = match["column"], match["comparison"]
    name = texts.get("labelName", "").strip()
    if comparison is None:
        return Label(column, name=name or column)
    try:
        number = float(match["number"])
    except ValueError:
        raise ParameterError("label", allowed, text) from None
    return Label(column, Comparison(comparison), number, name or "label")


def unused(texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of parameters that no tabular step reads; a run's other steps may."""
    return tuple(sorted(set(texts) - _KNOWN))


def _refuse_misspelt(texts: Mapping[str, str]) -> None:
    for name in unused(texts):
        if similar := difflib.get_close_matches(name, _KNOWN, 1, _SIMILAR):
            raise ParameterError(name, f"is unknown, did you mean '{similar[0]}'?", texts[name])


def _joins(text: str) -> tuple[Join, ...]:
    return tuple(_join(part, text) for part in text.split(";") if part.strip())


def _join(part: str, text: str) -> Join:
    name, separator, keys = part.partition(":")
    columns = _split(keys)
    if not separator or not columns or not _DATASET_NAME.fullmatch(name.strip()):
        raise ParameterError("join", "must be like 'weather:origin,time_hour;planes:tailnum'", text)
    return Join(name.strip(), columns)


def _names(texts: Mapping[str, str], name: str) -> tuple[str, ...]:
    return _split(texts.get(name, ""))


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _choice(texts: Mapping[str, str], name: str, choices: type[E], default: Any) -> Any:
    text = texts.get(name, "").strip()
    if not text:
        return default
    try:
        return choices(text)
    except ValueError:
        raise ParameterError(name, f"must be one of {', '.join(choices)}", text) from None


def _whole(texts: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    text = texts.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
        raise ParameterError(name, f"must be a whole number from {low} to {high}", text)
    return int(text)


def _number(texts: Mapping[str, str], name: str, low: float, high: float) -> float | None:
    text = texts.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ParameterError(name, f"must be a number from {low:g} to {high:g}", text)
    return value


def _flag(texts: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = texts.get(name, "").strip()
    if text not in ("", "true", "false"):
        raise ParameterError(name, "must be true or false", text)
    return default if not text else text == "true"
