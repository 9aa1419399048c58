"""Which revision serves and which one is being rolled out, decided anew in every pass. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from modelyard.api.v1alpha1.deployment import HistoryEntry, Reason, ServedModel
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import LABEL_REVISION
from modelyard.controller.engine.conditions import cut, timestamp
from modelyard.controller.kinds.deployment.observed import Observed
from modelyard.controller.kinds.deployment.resolve import Unresolved, artifact_fault, fall_back, find, resolve
from modelyard.controller.kinds.deployment.revision import Revision
from modelyard.controller.kinds.deployment.runtime import image_of_version

_HISTORY_LIMIT = 20


@dataclass(frozen=True)
class Target:
    """The revision that is to serve, and why."""

    revision: Revision
    why: str
    fallback: bool = False


@dataclass(frozen=True)
class Rollout:
    """Where a pass leaves the roll-out."""

    wanted: int | None
    """Version that the spec names or resolves to."""
    blocked: Unresolved | None
    """Why what the spec asks for is not rolled out."""
    target: Target | None
    """What is to serve; None leaves everything as it is."""
    stable: ServedModel | None
    """What gets the traffic and is known to serve."""
    serving: Revision | None
    """All of the stable revision, when it can be rebuilt."""
    candidate: Revision | None
    """What is being rolled out."""
    history: tuple[HistoryEntry, ...]

    @property
    def carrier(self) -> str | None:
        """The revision that the Service selects: a first one gets traffic as its pods become ready."""
        if self.stable:
            return self.stable.revision
        return self.candidate.id if self.candidate else None


def follow(observed: Observed) -> Rollout:
    """Decide which revision serves and which one is rolled out."""
    reference = observed.deployment.spec.model
    resolution = resolve(reference, observed.versions)
    serving = observed.deployment.status.model or _selected(observed)
    target, blocked = _target(observed, resolution, serving)
    candidate = target.revision if target and (serving is None or serving.revision != target.revision.id) else None
    stable = serving
    if candidate and _takes_over(observed, candidate, serving):
        stable, candidate = _served(candidate), None
    return Rollout(
        wanted=reference.version or (resolution.spec.version if isinstance(resolution, ModelVersion) else None),
        blocked=blocked,
        target=target,
        stable=stable,
        serving=_rebuild(observed, stable, target) if stable else None,
        candidate=candidate,
        history=_history(observed, stable, target),
    )


def image_of(observed: Observed) -> str:
    """Return the model server image of new revisions, in the spec's version, else the recorded, else the operator's."""
    deployment = observed.deployment
    version = deployment.spec.endpoint.runtime_version or deployment.status.runtime_version
    return image_of_version(observed.server_image, version) if version else observed.server_image


def revision_of(observed: Observed, version: ModelVersion) -> Revision:
    """Return the revision by which a version is served as the spec stands now."""
    return Revision.of(version, observed.deployment.spec.endpoint, image_of(observed))


def old_revisions(history: Iterable[HistoryEntry]) -> dict[str, str]:
    """Return the revisions that served before, newest first, with the time since when another one serves."""
    entries = tuple(history)
    old: dict[str, str] = {}
    for successor, entry in pairwise(entries):
        if entry.revision != entries[0].revision:
            old.setdefault(entry.revision, successor.from_time)
    return old


def _rebuild(observed: Observed, stable: ServedModel, target: Target | None) -> Revision | None:
    """Return the stable revision as decided, as its workload records it, or as its ModelVersion still yields it."""
    workload = observed.workloads.get(stable.revision)
    version = find(observed.versions, stable.name, stable.version)
    sources = (
        target.revision if target else None,
        workload.revision if workload else None,
        revision_of(observed, version) if version else None,
    )
    return next((revision for revision in sources if revision and revision.id == stable.revision), None)


def _target(
    observed: Observed, resolution: ModelVersion | Unresolved, serving: ServedModel | None
) -> tuple[Target | None, Unresolved | None]:
    blocked = resolution if isinstance(resolution, Unresolved) else None
    if isinstance(resolution, ModelVersion):
        revision = revision_of(observed, resolution)
        blocked = _obstacle(observed, resolution, revision.id, serving)
        if blocked is None:
            return Target(revision, _why(observed, revision, serving)), None
    if blocked and serving and _is_retired(observed, serving):
        version = fall_back(observed.deployment.status.history, observed.versions)
        if version:
            why = f"fell back from version {serving.version}, because {blocked.message}"
            return Target(revision_of(observed, version), why, fallback=True), blocked
    return None, blocked


def _obstacle(
    observed: Observed, version: ModelVersion, revision: str, serving: ServedModel | None
) -> Unresolved | None:
    """Return why a resolved version may not be rolled out; nothing stops what serves already."""
    if serving and serving.revision == revision:
        return None
    fault = artifact_fault(version)
    if fault:
        return fault
    started = observed.deployment.status.candidate
    if observed.deployment.spec.rollout.paused and (started is None or started.revision != revision):
        message = f"`spec.rollout.paused` is set, version {version.spec.version} waits until it is not"
        return Unresolved(Reason.PAUSED, message)
    return None


def _is_retired(observed: Observed, serving: ServedModel) -> bool:
    version = find(observed.versions, serving.name, serving.version)
    return version is not None and version.spec.retired is not None


def _why(observed: Observed, revision: Revision, serving: ServedModel | None) -> str:
    if serving and (serving.name, serving.digest) == (revision.model, revision.digest):
        return "the settings of the endpoint changed"
    if observed.deployment.spec.model.alias:
        return "it is the champion"
    return "the spec asks for it"


def _takes_over(observed: Observed, candidate: Revision, serving: ServedModel | None) -> bool:
    """Say whether the candidate gets the traffic: at full size, or as soon as it is better than nothing."""
    ready = observed.ready(candidate.id)
    nothing_serves = serving is None or observed.ready(serving.revision) == 0
    return (ready >= observed.size and observed.is_rolled(candidate)) or (ready > 0 and nothing_serves)


def _selected(observed: Observed) -> ServedModel | None:
    """Return what the Service sends traffic to, for a status that was lost, such as one restored from a backup."""
    if observed.service is None:
        return None
    selected = observed.service["spec"].get("selector", {}).get(LABEL_REVISION, "")
    workload = observed.workloads.get(selected)
    return _served(workload.revision) if workload and workload.revision and workload.ready else None


def _served(revision: Revision) -> ServedModel:
    return ServedModel(name=revision.model, version=revision.version, digest=revision.digest, revision=revision.id)


def _history(observed: Observed, stable: ServedModel | None, target: Target | None) -> tuple[HistoryEntry, ...]:
    history = observed.deployment.status.history
    if stable is None or (history and history[0].revision == stable.revision):
        return history
    why = target.why if target and target.revision.id == stable.revision else "it was found serving"
    entry = HistoryEntry(
        name=stable.name,
        version=stable.version,
        digest=stable.digest,
        revision=stable.revision,
        from_time=timestamp(observed.now),
        reason=cut(why),
    )
    return (entry, *history)[:_HISTORY_LIMIT]
