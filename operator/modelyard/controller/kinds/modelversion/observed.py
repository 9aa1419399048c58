"""All that one decision about a ModelVersion rests on. Pure data."""

from dataclasses import dataclass
from datetime import datetime

from modelyard.api.v1alpha1.champion import champion
from modelyard.api.v1alpha1.modelversion import Conversion, ModelVersion
from modelyard.api.v1alpha1.observation import Observation
from modelyard.controller.engine.conditions import Condition
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.attempts import Attempt
from modelyard.controller.kinds.stepjob import Images


@dataclass(frozen=True)
class Observed:
    """What was read, once, for one pass."""

    version: ModelVersion
    siblings: tuple[ModelVersion, ...]
    """All versions of its model in its namespace, itself among them."""
    observation: Observation | None
    """What the agent saw of this very version."""
    now: datetime
    manifest: Manifest
    """The version as it is stored."""
    images: Images
    """What a conversion runs."""
    attempts: tuple[Attempt, ...] = ()
    """The attempts to convert it, oldest first."""

    @property
    def conversion(self) -> Conversion:
        """What is recorded of the conversion."""
        return self.version.status.conversion or Conversion()

    @property
    def is_converting(self) -> bool:
        """Does status know of an attempt whose end it does not know?"""
        known = self.conversion
        return known.attempt > 0 and known.last_failure_time is None and known.artifact is None

    def recorded(self, type_: str) -> Condition | None:
        """Return a condition as status has it."""
        found = next((c for c in self.version.status.conditions if c.type == type_), None)
        return Condition(found.type, found.status.value, found.reason, found.message) if found else None

    def seconds_since(self, time: str) -> float:
        """Return the seconds that went by since a time of status."""
        return (self.now - datetime.fromisoformat(time)).total_seconds()

    @property
    def is_champion(self) -> bool:
        """Is it the champion of its model?"""
        best = champion(self.siblings, self.version.spec.model)
        return best is not None and best.metadata.uid == self.version.metadata.uid
