"""What a decision may ask for. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelyard.controller.engine.conditions import Condition
from modelyard.controller.engine.manifests import Manifest, Ref


@dataclass(frozen=True)
class Event:
    """Something that happened to the reconciled object, told to people once, on a transition."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """All writes of one pass, carried out in the order create, apply, status, events, delete.

    Deletions come last, so that what was learnt from a child is never lost with it. A write that
    fails ends the pass, so status never claims what was not done.
    """

    create: tuple[Manifest, ...] = ()
    """Posted once and never patched, such as Jobs. One that exists and is ours counts as created."""

    apply: tuple[Manifest, ...] = ()
    """Server-side applied where they differ from what is live.

    One may carry `metadata.resourceVersion` as an optimistic lock.
    """

    delete: tuple[Ref, ...] = ()
    """Deleted with background propagation; one that is gone counts as deleted."""

    status: Mapping[str, Any] | None = None
    """The whole desired status without `conditions` and `observedGeneration`; None leaves status alone.

    A field that is left out is removed. Nothing in it may move with every pass, and its schema may not
    have defaults: it is written whenever it is not equal to what is stored.
    """

    conditions: tuple[Condition, ...] = ()
    """All conditions of the object, written with `status`."""

    events: tuple[Event, ...] = ()
    """Posted once the status is written."""

    requeue_after: float | None = None
    """Seconds until the next pass that nothing else would cause."""

    def __post_init__(self) -> None:
        if self.status is None and self.conditions:
            raise ValueError("conditions are written with a status: status must be a mapping, not None")
        if self.status is not None and {"conditions", "observedGeneration"} & self.status.keys():
            raise ValueError("`conditions` and `observedGeneration` must not be in status: the writer adds them")
