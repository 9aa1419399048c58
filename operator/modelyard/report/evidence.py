"""What the page is made from, beside the record: the numbers and predictions by which a model was judged."""

from dataclasses import dataclass

from modelyard.statistics.comparison import Scored
from modelyard.statistics.importance import Importance
from modelyard.statistics.metrics import Predicted
from modelyard.statistics.verdict import Group


@dataclass(frozen=True)
class JudgedGroup:
    """A group of a slice, and what was made of it."""

    group: Group
    is_large_enough: bool
    is_regressed: bool


@dataclass(frozen=True)
class Evidence:
    """Why a verdict is what it is."""

    label: str
    """Column of the truth."""
    classes: tuple[str, ...]
    """Names of the classes, in order of their numbers; none for a regression."""
    model: Predicted
    champion: Predicted | None
    scores: tuple[Scored, ...]
    groups: tuple[JudgedGroup, ...]
    importance: Importance | None
    """None when there are too many features, or the metric is undefined on a sample."""
