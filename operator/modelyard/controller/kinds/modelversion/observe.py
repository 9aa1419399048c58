"""Reads what a decision about a ModelVersion rests on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.manifests import Manifest, name_of, namespace_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.modelversion.decide import decide
from modelyard.controller.kinds.modelversion.observed import Observed
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, lines_of, read_versions
from modelyard.controller.kinds.observations import observation_of


@dataclass(frozen=True)
class ModelVersions:
    """Makes plans for ModelVersions from caches alone.

    Attributes:
        versions: with the index LINE_INDEX made by `lines_of`.
        observations: what agents saw.
        now: aware time.
    """

    versions: Store
    observations: Store
    now: Callable[[], datetime]

    async def plan(self, manifest: Manifest) -> Plan:
        """Return the writes of one pass over a ModelVersion; none for one that a newer operator wrote."""
        observed = self.observe(manifest)
        return decide(observed) if observed else Plan()

    def observe(self, manifest: Manifest) -> Observed | None:
        """Read what a decision rests on; None when the version cannot be read."""
        version = next(iter(read_versions([manifest])), None)
        if version is None:
            return None
        return Observed(
            version=version,
            siblings=read_versions(self.versions.by_index(LINE_INDEX, next(iter(lines_of(manifest))))),
            observation=observation_of(self.observations, ModelVersion.kind, manifest),
            now=self.now(),
        )

    def siblings(self, manifest: Manifest) -> Iterable[Key]:
        """Return the versions of the same model: when one is made, retired or deleted, another may be champion."""
        found = self.versions.by_index(LINE_INDEX, next(iter(lines_of(manifest))))
        return [Key(ModelVersion.kind, namespace_of(version), name_of(version)) for version in found]
