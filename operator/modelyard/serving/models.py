"""A loaded model, and what a run of it costs."""

from dataclasses import dataclass

from modelyard.model import Signature
from modelyard.serving.codec import Codec
from modelyard.serving.session import Session


@dataclass(frozen=True, slots=True)
class RunCost:
    """How long a run takes, as measured when the model was loaded (seconds)."""

    one_row: float
    each_further_row: float

    def of(self, rows: int) -> float:
        """Estimate for a number of rows."""
        return self.one_row + self.each_further_row * max(0, rows - 1)


@dataclass(frozen=True, slots=True)
class Model:
    """A verified model that is ready to answer."""

    signature: Signature
    codec: Codec
    session: Session
    cost: RunCost
