"""Which version a Deployment asks for, and which one it falls back to. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelyard.api.v1alpha1.champion import champion
from modelyard.api.v1alpha1.common import ConditionStatus
from modelyard.api.v1alpha1.deployment import HistoryEntry, ModelReference, Reason
from modelyard.api.v1alpha1.modelversion import ConditionType, ModelVersion

_NAMED_VERSIONS = 5


@dataclass(frozen=True)
class Unresolved:
    """Why no version can be rolled out for the reference."""

    reason: Reason
    message: str


def resolve(reference: ModelReference, versions: Sequence[ModelVersion]) -> ModelVersion | Unresolved:
    """Return the version that `reference` asks for.

    Args:
        reference: what the spec says.
        versions: ModelVersions of the namespace, all of the model among them.
    """
    if reference.version is None:
        best = champion(versions, reference.name)
        return best or Unresolved(
            Reason.NO_CHAMPION, f"no version of '{reference.name}' was accepted by an evaluation and is not retired"
        )
    version = find(versions, reference.name, reference.version)
    if version is None:
        return Unresolved(Reason.VERSION_NOT_FOUND, _not_found(reference, versions))
    digest = version.spec.artifact.digest
    if reference.digest and reference.digest != digest:
        return Unresolved(
            Reason.DIGEST_MISMATCH,
            f"version {version.spec.version} has the digest {digest}, but `spec.model.digest` asks for another one",
        )
    if version.spec.retired:
        return Unresolved(Reason.RETIRED, f"version {version.spec.version} is retired: {version.spec.retired.reason}")
    return version if version.served_artifact else _unconverted(version)


def find(versions: Iterable[ModelVersion], model: str, number: int) -> ModelVersion | None:
    """Return one version of one model, or None."""
    return next((v for v in versions if v.spec.model == model and v.spec.version == number), None)


def fall_back(history: Iterable[HistoryEntry], versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """Return the version that served last among those that may still serve."""
    for entry in history:
        version = find(versions, entry.name, entry.version)
        served = version.served_artifact if version else None
        if version and served and served.digest == entry.digest and _may_serve(version):
            return version
    return None


def _may_serve(version: ModelVersion) -> bool:
    return version.spec.retired is None and artifact_fault(version) is None


def artifact_fault(version: ModelVersion) -> Unresolved | None:
    """Return why the bytes of a version cannot be fetched, as far as is known."""
    for condition in version.status.conditions:
        if condition.type == ConditionType.ARTIFACT_AVAILABLE and condition.status is ConditionStatus.FALSE:
            return Unresolved(
                Reason.ARTIFACT_UNAVAILABLE,
                f"version {version.spec.version} cannot be fetched ({condition.reason}): {condition.message}",
            )
    return None


def _unconverted(version: ModelVersion) -> Unresolved:
    condition = next((c for c in version.status.conditions if c.type == ConditionType.CONVERTED), None)
    failed = condition is not None and condition.status is ConditionStatus.FALSE
    why = f"{condition.reason}: {condition.message}" if condition else "its conversion is about to begin"
    reason = Reason.NOT_CONVERTED if failed else Reason.CONVERTING
    return Unresolved(reason, f"version {version.spec.version} is a pickle that is not converted to ONNX: {why}")


def _not_found(reference: ModelReference, versions: Iterable[ModelVersion]) -> str:
    numbers = sorted((v.spec.version for v in versions if v.spec.model == reference.name), reverse=True)
    there = ", ".join(str(number) for number in numbers[:_NAMED_VERSIONS]) or "none"
    return f"this namespace has no version {reference.version} of '{reference.name}'; newest versions: {there}"
