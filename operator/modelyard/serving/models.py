"""A loaded model, what its runs cost, and which requests may share one."""

from dataclasses import dataclass

from modelyard.model import Baseline, Signature
from modelyard.serving.decoding import Decoder
from modelyard.serving.encoding import Encoder
from modelyard.serving.session import Session


@dataclass(frozen=True, slots=True)
class RunCost:
    """How long a run takes, as measured when the model was loaded (seconds).

    Attributes:
        best_rows: How many rows to answer in one run, at most.
    """

    one_row: float
    each_further_row: float
    best_rows: int = 1

    def of(self, rows: int) -> float:
        """Estimate for a number of rows."""
        return self.one_row + self.each_further_row * max(0, rows - 1)


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """Seconds that the parts of the start took, and the memory that it added (bytes)."""

    load: float
    golden_check: float
    calibration: float
    memory: int


@dataclass(frozen=True, slots=True)
class Model:
    """A verified model that is ready to answer.

    Attributes:
        digest: Of the directory that it was loaded from.
        mergeable: Whether rows of several requests may be answered in one run.
    """

    digest: str
    baseline: Baseline
    decoder: Decoder
    encoder: Encoder
    session: Session
    cost: RunCost
    mergeable: bool
    times: LoadTimes

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self.session.signature
