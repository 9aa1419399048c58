"""What is said of an object of ours that cannot be read, such as one that a newer operator wrote. Pure."""

from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from modelyard.controller.engine.conditions import Condition, cut
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.plan import Plan

INVALID_SPEC: Final = "InvalidSpec"
_ADDED_BY_WRITER: Final = frozenset({"conditions", "observedGeneration"})


def first_fault(error: ValidationError) -> str:
    """Return the first field that cannot be read, and why."""
    first = error.errors()[0]
    return f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}"


def refuse(manifest: Manifest, what: str, why: str, kept: Sequence[Condition] = ()) -> Plan:
    """Return a plan that leaves the object as it is and says so.

    Args:
        manifest: the object as it is stored.
        what: what people call it.
        why: which field cannot be read.
        kept: conditions that still hold.
    """
    message = cut(f"this operator cannot read the {what}, is it of a newer one? {why}")
    return Plan(
        status={name: value for name, value in manifest.get("status", {}).items() if name not in _ADDED_BY_WRITER},
        conditions=(
            Condition("Ready", "False", INVALID_SPEC, message),
            *kept,
            Condition("Stalled", "True", INVALID_SPEC, message),
        ),
    )
