"""Reads what a decision about a ModelVersion rests on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.api.v1alpha1.modelversion import Format, ModelVersion
from modelyard.api.v1alpha1.names import (
    CONVERT_STEP,
    LABEL_COMPONENT,
    LABEL_MODEL,
    LABEL_VERSION,
    conversion_job_name,
    model_version_name,
)
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.manifests import Manifest, name_of, namespace_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.attempts import Attempt, attempts_of
from modelyard.controller.kinds.jobreader import JobReader
from modelyard.controller.kinds.modelversion.children import COMPONENT
from modelyard.controller.kinds.modelversion.conversion import is_settled
from modelyard.controller.kinds.modelversion.decide import decide
from modelyard.controller.kinds.modelversion.observed import Observed
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, lines_of, read_versions
from modelyard.controller.kinds.observations import observation_of
from modelyard.controller.kinds.stepjob import Images


def conversions_of(manifest: Manifest) -> Iterable[Key]:
    """Return the ModelVersion that a Job or a pod converts."""
    labels = manifest["metadata"].get("labels", {})
    if labels.get(LABEL_COMPONENT) != COMPONENT or LABEL_MODEL not in labels or LABEL_VERSION not in labels:
        return ()
    name = model_version_name(labels[LABEL_MODEL], labels[LABEL_VERSION])
    return (Key(ModelVersion.kind, namespace_of(manifest), name),)


@dataclass(frozen=True)
class ModelVersions:
    """Makes plans for ModelVersions, from caches alone but for the end of a conversion.

    Attributes:
        versions: with the index LINE_INDEX made by `lines_of`.
        observations: what agents saw.
        jobs: reads the Jobs that convert.
        images: what these run.
        now: aware time.
    """

    versions: Store
    observations: Store
    jobs: JobReader
    images: Images
    now: Callable[[], datetime]

    async def plan(self, manifest: Manifest) -> Plan:
        """Return the writes of one pass over a ModelVersion; none for one that a newer operator wrote."""
        observed = self.observe(manifest)
        if observed is None:
            return Plan()
        if observed.version.spec.format is Format.PICKLE:
            observed = replace(observed, attempts=await self._attempts(observed))
        return decide(observed)

    def observe(self, manifest: Manifest) -> Observed | None:
        """Read what a decision rests on, apart from Jobs; None when the version cannot be read."""
        version = next(iter(read_versions([manifest])), None)
        if version is None:
            return None
        return Observed(
            version=version,
            siblings=read_versions(self.versions.by_index(LINE_INDEX, next(iter(lines_of(manifest))))),
            observation=observation_of(self.observations, ModelVersion.kind, manifest),
            now=self.now(),
            manifest=manifest,
            images=self.images,
        )

    async def _attempts(self, observed: Observed) -> tuple[Attempt, ...]:
        """Read the attempts to convert a Pickle; live only while one runs that status knows of."""
        metadata, known = observed.version.metadata, observed.conversion
        if known.artifact or is_settled(observed):
            found = self.jobs.cached(metadata.uid)
        else:
            found = await self.jobs.read(
                metadata.namespace,
                metadata.uid,
                observed.now,
                running=[conversion_job_name(metadata.name, known.attempt)] if observed.is_converting else (),
                is_recorded=lambda attempt: attempt.number < known.attempt + (not observed.is_converting),
            )
        return attempts_of(found.jobs, found.pods, found.refusals).get(CONVERT_STEP, ())

    def siblings(self, manifest: Manifest) -> Iterable[Key]:
        """Return the versions of the same model: when one is made, retired or deleted, another may be champion."""
        found = self.versions.by_index(LINE_INDEX, next(iter(lines_of(manifest))))
        return [Key(ModelVersion.kind, namespace_of(version), name_of(version)) for version in found]
