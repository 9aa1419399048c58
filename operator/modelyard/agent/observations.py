"""Observations as manifests, and when two of them say the same. Pure."""

from collections.abc import Mapping
from typing import Any

from modelyard.agent.sightings import MAX_MESSAGE_CHARACTERS
from modelyard.agent.subjects import Reference
from modelyard.api.v1alpha1.names import API_VERSION


def build_observation(subject: Reference, seen: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return an Observation for server-side apply.

    Args:
        subject: what was observed; it owns the Observation.
        seen: `inputs`, `results`, `outputs` and `progress`, or `artifact`; a part that is None is left out.
        now: RFC 3339 time.
    """
    owner = {"apiVersion": API_VERSION, "kind": subject.kind, "name": subject.name, "uid": subject.uid}
    reference = {"kind": subject.kind, "name": subject.name, "uid": subject.uid}
    present = {name: part for name, part in seen.items() if part is not None}
    return {
        "apiVersion": API_VERSION,
        "kind": "Observation",
        "metadata": {"name": subject.observation, "ownerReferences": [owner]},
        "spec": {"subject": reference, "observedTime": now, **present},
    }


def says(spec: Mapping[str, Any] | None, subject: Reference, seen: Mapping[str, Any]) -> bool:
    """Whether an Observation's spec already says this, its time and the API server's defaults aside."""
    if spec is None:
        return not any(seen.values())
    reference = {"kind": subject.kind, "name": subject.name, "uid": subject.uid}
    kept = {name: value for name, value in spec.items() if name != "observedTime"}
    return bool(_without_defaults(kept) == _without_defaults({"subject": reference, **seen}))


def artifact(digest: str, state: str, message: str) -> dict[str, Any]:
    """Return what was seen of a version's bytes."""
    return {"artifact": {"digest": digest, "state": state, "message": message[:MAX_MESSAGE_CHARACTERS]}}


def output(uri: str, state: str, message: str) -> dict[str, str]:
    """Return what was seen of an output that a step may take over."""
    return {"uri": uri, "state": state, "message": message[:MAX_MESSAGE_CHARACTERS]}


def _without_defaults(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {name: _without_defaults(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part not in ("", 0, None, [], {})}
    if isinstance(value, list | tuple):
        return [_without_defaults(part) for part in value]
    return value
