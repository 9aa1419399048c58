"""Conditions as the Kubernetes API conventions want them. Pure: time and generation come in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

ConditionStatus = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT = 1024

_ONLY_WHILE_TRUE = frozenset({"Reconciling", "Stalled"})


@dataclass(frozen=True)
class Condition:
    """What is known about one aspect of an object; `reason` is CamelCase, `message` is for people."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def merge_conditions(
    current: Sequence[Mapping[str, Any]], desired: Sequence[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The condition list to store: `desired`, with the transition times of what did not change.

    Args:
        current: the conditions that the object has.
        desired: all the conditions that it should have; others are dropped, and so are
            `Reconciling` and `Stalled` unless they are True.
        generation: `metadata.generation` of the object that `desired` was decided for.
        now: aware time, taken as the transition time of every status that flips.

    Returns:
        Conditions in the order of `desired`, but `Ready` first.
    """
    known = {condition["type"]: condition for condition in current}
    kept = [item for item in desired if item.type not in _ONLY_WHILE_TRUE or item.status == "True"]
    kept.sort(key=lambda condition: condition.type != "Ready")
    return [_merge(known.get(condition.type), condition, generation, now) for condition in kept]


def _merge(current: Mapping[str, Any] | None, desired: Condition, generation: int, now: datetime) -> dict[str, Any]:
    unchanged = current is not None and current["status"] == desired.status
    return {
        "type": desired.type,
        "status": desired.status,
        "observedGeneration": generation,
        "lastTransitionTime": current["lastTransitionTime"] if current and unchanged else timestamp(now),
        "reason": desired.reason,
        "message": cut(desired.message),
    }


def cut(message: str, limit: int = MESSAGE_LIMIT) -> str:
    """`message`, shortened to `limit` characters with an ellipsis."""
    return message if len(message) <= limit else message[: limit - 1] + "…"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with a precision of seconds, as metav1.Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def find_condition(conditions: Sequence[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """The condition of this type, or None."""
    return next((condition for condition in conditions if condition["type"] == type_), None)


def is_true(conditions: Sequence[Mapping[str, Any]], type_: str) -> bool:
    """Whether the condition of this type is there and True."""
    condition = find_condition(conditions, type_)
    return condition is not None and condition["status"] == "True"
