"""All that one decision about a ModelVersion rests on. Pure data."""

from dataclasses import dataclass
from datetime import datetime

from modelyard.api.v1alpha1.champion import champion
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.observation import Observation


@dataclass(frozen=True)
class Observed:
    """What was read, once, for one pass."""

    version: ModelVersion
    siblings: tuple[ModelVersion, ...]
    """All versions of its model in its namespace, itself among them."""
    observation: Observation | None
    """What the agent saw of this very version."""
    now: datetime

    @property
    def is_champion(self) -> bool:
        """Is it the champion of its model?"""
        best = champion(self.siblings, self.version.spec.model)
        return best is not None and best.metadata.uid == self.version.metadata.uid
