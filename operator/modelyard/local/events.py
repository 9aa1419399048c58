"""What a run tells while it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from modelyard.api.v1alpha1.trainingrun import ResolvedInput


@dataclass(frozen=True)
class StepEnd:
    """How an attempt of a step ended. `reason` and `message` are empty when it succeeded."""

    step: str
    attempt: int
    seconds: float
    reason: str = ""
    message: str = ""
    retry_seconds: float | None = None
    """After how long it is tried again; None = it is not."""


class Listener(Protocol):
    """Takes what happens."""

    def remark(self, text: str) -> None:
        """A sentence about the whole run."""

    def input_resolved(self, item: ResolvedInput) -> None:
        """An input is known."""

    def step_started(self, step: str, attempt: int) -> None:
        """An attempt begins."""

    def line(self, step: str, text: str) -> None:
        """The user's code wrote a line."""

    def progress(self, step: str, metrics: Mapping[str, str], percentage: float | None) -> None:
        """The step reported metrics or how far it is; also called when nothing changed, to show time."""

    def step_ended(self, end: StepEnd) -> None:
        """An attempt ended."""
