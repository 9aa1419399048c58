"""Where files are in a step's pod, and what the operator passes in the environment (docs/contracts.md)."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelyard.storage.errors import InvalidSource

FETCH: Final = "Fetch"
REFERENCE: Final = "Reference"
STORE_DEADLINE_SECONDS: Final = 600.0
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class SourceSpec:
    """One entry of MODELYARD_SOURCES."""

    name: str
    uri: str
    digest: str
    version: str | None = None
    """Version of an object, commit, or version of a table that the digest was taken of."""
    mode: str = FETCH


def inputs_folder() -> Path:
    """Return the folder of the inputs."""
    return Path(os.environ.get("MODELYARD_INPUTS_DIR", "/modelyard/inputs"))


def outputs_folder() -> Path:
    """Return the folder of the outputs, in the workspace."""
    return Path(os.environ.get("MODELYARD_OUTPUTS_DIR", "/modelyard/work/outputs"))


def metrics_file() -> Path:
    """Return the file of the metrics, in the workspace."""
    return Path(os.environ.get("MODELYARD_METRICS_FILE", "/modelyard/work/metrics.jsonl"))


def checkpoint_folder() -> Path | None:
    """Return the folder of the checkpoint, None when the step keeps none."""
    text = os.environ.get("MODELYARD_CHECKPOINT_DIR")
    return Path(text) if text else None


def ended_file() -> Path | None:
    """Return the file that says that the user's work has ended well, None when nobody waits for that."""
    text = os.environ.get("MODELYARD_ENDED_FILE")
    return Path(text) if text else None


def rank() -> int:
    """Return which of the step's pods this is, from 0; Kubernetes numbers the pods of an Indexed Job.

    Raises:
        InvalidSource: it is no number.
    """
    text = os.environ.get("JOB_COMPLETION_INDEX") or "0"
    if not (text.isascii() and text.isdigit()):
        raise InvalidSource(f"JOB_COMPLETION_INDEX: must be a number from 0, got '{text[:100]}'")
    return int(text)


def store_deadline_seconds() -> float:
    """Return how long outages of the store are sat out."""
    text = os.environ.get("MODELYARD_STORE_DEADLINE_SECONDS", "")
    try:
        return float(text) if text else STORE_DEADLINE_SECONDS
    except ValueError:
        raise InvalidSource(f"MODELYARD_STORE_DEADLINE_SECONDS: must be a number, got '{text}'") from None


def sources() -> tuple[SourceSpec, ...]:
    """Return MODELYARD_SOURCES.

    Raises:
        InvalidSource: it is not what the contract says.
    """
    return tuple(_source(entry) for entry in _list("MODELYARD_SOURCES"))


def output_names() -> tuple[str, ...]:
    """Return MODELYARD_OUTPUTS.

    Raises:
        InvalidSource: it is not what the contract says.
    """
    names = _list("MODELYARD_OUTPUTS")
    for name in names:
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise InvalidSource(f"MODELYARD_OUTPUTS: must hold lower-case DNS labels, got {name!r}")
    return tuple(names)


def require(variable: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a variable that must be set.

    Raises:
        InvalidSource: it is not.
    """
    value = environment.get(variable, "")
    if not value:
        raise InvalidSource(f"{variable}: must be set")
    return value


def _list(variable: str) -> list[Any]:
    try:
        value = json.loads(os.environ.get(variable) or "[]")
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise InvalidSource(f"{variable}: must be a JSON list")
    return value


def _source(entry: Any) -> SourceSpec:
    match entry:
        case {"name": str(name), "uri": str(uri), "digest": str(digest)} if _NAME.fullmatch(name):
            if not _DIGEST.fullmatch(digest):
                raise InvalidSource(f"source '{name}': digest must be 'sha256:' and 64 hexadecimal digits")
            version, mode = entry.get("version"), entry.get("mode", FETCH)
            if mode not in (FETCH, REFERENCE) or not isinstance(version, str | None):
                raise InvalidSource(f"source '{name}': mode must be '{FETCH}' or '{REFERENCE}', version a string")
            return SourceSpec(name, uri, digest, version, mode)
        case _:
            raise InvalidSource("MODELYARD_SOURCES: every entry must have a lower-case 'name', a 'uri' and a 'digest'")
