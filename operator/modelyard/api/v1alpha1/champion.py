"""The champion of a model line: derived from specs alone, never stored."""

from collections.abc import Iterable

from modelyard.api.v1alpha1.modelversion import ACCEPTING, ModelVersion


def is_accepted(version: ModelVersion) -> bool:
    """Say whether an evaluation accepted the version and nobody retired it."""
    spec = version.spec
    return spec.retired is None and spec.evaluation is not None and spec.evaluation.verdict in ACCEPTING


def champion(versions: Iterable[ModelVersion], model: str) -> ModelVersion | None:
    """Return the highest accepted version of `model` among the versions of one namespace, or None."""
    candidates = (v for v in versions if v.spec.model == model and is_accepted(v))
    return max(candidates, key=lambda v: v.spec.version, default=None)
