"""What is said of a ModelVersion. Pure and total."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.comparison import comparison, score
from modelyard.api.v1alpha1.modelversion import ACCEPTING, ConditionType, Evaluation, Format, Reason, Verdict
from modelyard.api.v1alpha1.observation import ArtifactState, ObservedArtifact
from modelyard.controller.engine.conditions import Condition
from modelyard.controller.engine.plan import Event, Plan
from modelyard.controller.kinds.modelversion.conversion import advance
from modelyard.controller.kinds.modelversion.observed import Observed

AGENT_PATIENCE: Final = 60.0
"""Seconds after which a version whose bytes nobody checks is said to have no agent."""

_ARTIFACT: Final = {
    ArtifactState.VERIFIED: ("True", Reason.VERIFIED),
    ArtifactState.MISSING: ("False", Reason.ARTIFACT_MISSING),
    ArtifactState.CORRUPT: ("False", Reason.ARTIFACT_CORRUPT),
    ArtifactState.UNREACHABLE: ("Unknown", Reason.ARTIFACT_UNREACHABLE),
}


def decide(observed: Observed) -> Plan:
    """Return the writes of one pass: status, and the Job that converts a Pickle."""
    version = observed.version
    if version.metadata.deletion_timestamp:
        return Plan()
    artifact = _artifact_available(observed)
    conversion = advance(observed, artifact) if version.spec.format is Format.PICKLE else None
    parts = (artifact, conversion.condition) if conversion else (artifact,)
    champion = "Yes" if observed.is_champion else "No"
    status: dict[str, Any] = {"champion": champion, **_summary(version.spec.evaluation)}
    if conversion:
        status["conversion"] = as_json(conversion.status)
    due = (
        _patience_left(observed) if artifact.reason == Reason.VERIFYING else None,
        conversion.requeue_after if conversion else None,
    )
    return Plan(
        create=conversion.create if conversion else (),
        delete=conversion.delete if conversion else (),
        status=status,
        conditions=(_ready(observed, parts), *parts, _accepted(observed), *_stalled(parts)),
        events=_events(observed, champion, parts),
        requeue_after=min((seconds for seconds in due if seconds is not None), default=None),
    )


def _summary(evaluation: Evaluation | None) -> dict[str, str]:
    """Return what `kubectl get` shows of an evaluation; a column can show a field, not compute one."""
    found = {"score": score(evaluation), "comparison": comparison(evaluation)} if evaluation else {}
    return {name: text for name, text in found.items() if text is not None}


def _ready(observed: Observed, parts: Sequence[Condition]) -> Condition:
    retired = observed.version.spec.retired
    if retired:
        return Condition(ConditionType.READY, "False", Reason.RETIRED, f"retired: {retired.reason}")
    for status in ("False", "Unknown"):
        for part in parts:
            if part.status == status:
                return Condition(ConditionType.READY, part.status, part.reason, part.message)
    return Condition(ConditionType.READY, "True", Reason.AVAILABLE, "the bytes are there and hash to the digest")


def _stalled(parts: Iterable[Condition]) -> Iterator[Condition]:
    for part in parts:
        if part.reason == Reason.ARTIFACT_CORRUPT or (part.type == ConditionType.CONVERTED and part.status == "False"):
            yield Condition(ConditionType.STALLED, "True", part.reason, part.message)
            return


def _artifact_available(observed: Observed) -> Condition:
    seen = _seen(observed)
    if seen:
        status, reason = _ARTIFACT[seen.state]
        message = seen.message or f"{observed.version.spec.artifact.uri}: {seen.state}"
        return Condition(ConditionType.ARTIFACT_AVAILABLE, status, reason, message)  # type: ignore[arg-type]
    if _patience_left(observed) > 0:
        message = "the agent of this namespace is asked to check the bytes"
        return Condition(ConditionType.ARTIFACT_AVAILABLE, "Unknown", Reason.VERIFYING, message)
    namespace = observed.version.metadata.namespace
    message = (
        f"no agent has checked the bytes: check that the chart modelyard-tenant is installed in namespace "
        f"'{namespace}' and that its agent runs (kubectl get pods -n {namespace})"
    )
    return Condition(ConditionType.ARTIFACT_AVAILABLE, "Unknown", Reason.NO_AGENT, message)


def _seen(observed: Observed) -> ObservedArtifact | None:
    """Return what the agent saw of these very bytes."""
    seen = observed.observation.spec.artifact if observed.observation else None
    return seen if seen and seen.digest == observed.version.spec.artifact.digest else None


def _patience_left(observed: Observed) -> float:
    created = observed.version.metadata.creation_timestamp
    waited = (observed.now - datetime.fromisoformat(created)).total_seconds() if created else 0.0
    return AGENT_PATIENCE - waited


def _accepted(observed: Observed) -> Condition:
    """Return the condition that comes from the record alone, so that a restored record keeps it."""
    evaluation = observed.version.spec.evaluation
    if evaluation is None:
        message = "recorded without an evaluation; only an evaluated version becomes champion"
        return Condition(ConditionType.ACCEPTED, "True", Verdict.REGISTERED, message)
    if evaluation.verdict is Verdict.CHAMPION_MOVED:
        return Condition(ConditionType.ACCEPTED, "Unknown", evaluation.verdict, evaluation.message)
    accepted = evaluation.verdict in ACCEPTING
    return Condition(ConditionType.ACCEPTED, "True" if accepted else "False", evaluation.verdict, evaluation.message)


def _events(observed: Observed, champion: str, parts: Iterable[Condition]) -> tuple[Event, ...]:
    version = observed.version
    happened = []
    if champion == "Yes" and version.status.champion != "Yes":
        happened.append(Event("Normal", "BecameChampion", f"champion of model '{version.spec.model}'"))
    for part in parts:
        before = observed.recorded(part.type)
        changed = before is None or before.reason != part.reason
        if changed and part.status == "False":
            happened.append(Event("Warning", part.reason, part.message))
        elif changed and part.reason == Reason.CONVERTED:
            happened.append(Event("Normal", part.reason, part.message))
    return tuple(happened)
