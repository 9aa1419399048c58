"""The one place where the agent reads its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelyard.storage.objects import STORE_URI

ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class SettingsError(ValueError):
    """A variable is missing or has a value that is not allowed; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the agent is told from outside. Times are in seconds."""

    namespace: str
    store_uri: str | None = None
    """None = there is no Secret `modelyard-store`, or it lacks MODELYARD_STORE_URI."""
    port: int = 8080
    input_seconds: float = 10.0
    """How often inputs that cannot be read are looked at again."""
    result_seconds: float = 15.0
    """How often the result of a running step is looked for."""
    progress_seconds: float = 5.0
    """How often the progress of a running step is looked for that shows it."""
    verify_seconds: float = 600.0
    """How often the bytes of a version are hashed again."""
    recheck_seconds: float = 60.0
    """How often bytes that were not as they should be are hashed again."""
    credentials_seconds: float = 120.0
    """How long the store may refuse the agent before it ends, to be started with what its Secret says by then."""


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a variable is missing or not allowed.
    """
    namespace = environ.get("MODELYARD_NAMESPACE", "")
    if not namespace:
        raise SettingsError("MODELYARD_NAMESPACE: must be set to the namespace that the agent runs in")
    return Settings(
        namespace=namespace,
        store_uri=environ.get(STORE_URI) or None,
        port=int(_seconds(environ, "MODELYARD_PORT", Settings.port)),
        input_seconds=_seconds(environ, "MODELYARD_INPUT_SECONDS", Settings.input_seconds),
        result_seconds=_seconds(environ, "MODELYARD_RESULT_SECONDS", Settings.result_seconds),
        progress_seconds=_seconds(environ, "MODELYARD_PROGRESS_SECONDS", Settings.progress_seconds),
        verify_seconds=_seconds(environ, "MODELYARD_VERIFY_SECONDS", Settings.verify_seconds),
        recheck_seconds=_seconds(environ, "MODELYARD_RECHECK_SECONDS", Settings.recheck_seconds),
        credentials_seconds=_seconds(environ, "MODELYARD_CREDENTIALS_SECONDS", Settings.credentials_seconds),
    )


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 86_400:  # noqa: PLR2004 - a day
        raise SettingsError(f"{name}: must be a number from 1 to 86400, got '{text}'")
    return value
