"""What was seen of an input, and how an Observation says it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_VERSION_CHARACTERS: Final = 256
MAX_MESSAGE_CHARACTERS: Final = 1024


@dataclass(frozen=True)
class SeenInput:
    """What an input is."""

    digest: str
    bytes: int
    version: str | None = None
    """Version of an object, commit, or version of a table."""
    rows: int | None = None
    fingerprint: str | None = None
    """What the store said of it; while it says the same, the bytes are the same."""


@dataclass(frozen=True)
class Sighting:
    """What is known of an input that is looked at again and again."""

    seen: SeenInput | None = None
    """What it was when it could last be read: an outage is no change."""
    error: Mapping[str, str] | None = None
    """Why it cannot be read now."""


def error(reason: str, message: str) -> dict[str, str]:
    """Return an error as Observations have it."""
    return {"reason": reason, "message": message[:MAX_MESSAGE_CHARACTERS]}


def run_input(name: str, seen: SeenInput) -> dict[str, Any]:
    """Return an input of a run as Observations have it."""
    entry: dict[str, Any] = {"name": name, "digest": seen.digest, "bytes": seen.bytes}
    if seen.version and len(seen.version) <= MAX_VERSION_CHARACTERS:
        entry["version"] = seen.version
    if seen.rows is not None:
        entry["rows"] = seen.rows
    return entry


def polled_input(name: str, uri: str, sighting: Sighting) -> dict[str, Any]:
    """Return an input of a Pipeline as Observations have it: with all that the next agent must know."""
    entry: dict[str, Any] = {"name": name}
    if sighting.seen:
        entry = run_input(name, sighting.seen)
        if sighting.seen.fingerprint:
            entry["fingerprint"] = sighting.seen.fingerprint
    if sighting.error:
        entry["error"] = dict(sighting.error)
    return {**entry, "uri": uri}


def recall(entry: Mapping[str, Any]) -> Sighting:
    """Return what an earlier agent said of an input of a Pipeline."""
    digest, seen = entry.get("digest"), None
    if digest:
        seen = SeenInput(
            digest, entry.get("bytes", 0), entry.get("version"), entry.get("rows"), entry.get("fingerprint")
        )
    return Sighting(seen, entry.get("error"))
