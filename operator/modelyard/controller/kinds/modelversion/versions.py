"""Stored ModelVersions, typed; each version of an object is read once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import ValidationError

from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.controller.engine.manifests import Manifest, namespace_of, uid_of

LINE_INDEX = "line"
"""Index of a store of ModelVersions or TrainingRuns: those of one model in one namespace (`line`)."""


def line(namespace: str, model: str) -> str:
    """Return the value under which the index has the versions of a model."""
    return f"{namespace}/{model}"


def lines_of(manifest: Manifest) -> Iterable[str]:
    """Index function of a store of ModelVersions or TrainingRuns."""
    return (line(namespace_of(manifest), manifest["spec"]["model"]),)


def read_versions(manifests: Iterable[Manifest]) -> tuple[ModelVersion, ...]:
    """Return the ModelVersions that this operator can read; a newer one may have written others."""
    read = (_read(_Stored(uid_of(m), m["metadata"]["resourceVersion"], m)) for m in manifests)
    return tuple(version for version in read if version)


@dataclass(frozen=True)
class _Stored:
    """An object as it was at one moment, which its uid and resourceVersion name."""

    uid: str
    resource_version: str
    manifest: Manifest = field(compare=False)


@lru_cache(maxsize=8192)
def _read(stored: _Stored) -> ModelVersion | None:
    try:
        return ModelVersion.model_validate(stored.manifest)
    except ValidationError:
        return None
