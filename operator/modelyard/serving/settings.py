"""What the server is told by its environment (docs/contracts.md, "A model server's pod")."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

MIB: Final = 1024 * 1024
TRACKS: Final = ("stable", "canary", "shadow")
DEVICES: Final = ("cpu", "cuda")

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")
_DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{64})?")
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]{0,45}")

T = TypeVar("T")


class SettingsError(ValueError):
    """A variable is missing or not allowed; the message names each one and what is allowed."""


@dataclass(frozen=True, slots=True)
class PredictionLogSettings:
    """Which predictions are logged where; no columns = all inputs."""

    folder: Path
    percent: float
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings; times in seconds. An empty `address` means every address of the pod.

    Attributes:
        model_digest: None = whatever the directory holds.
        objective_seconds: Within which requests should be answered; None = not said.
        grpc_port: None = no gRPC.
        tls_dir: Folder with `tls.crt` and `tls.key`; None = no TLS.
        prediction_log: None = no prediction is logged.
    """

    model_dir: Path
    model_name: str
    model_version: str
    model_digest: str | None
    deployment: str
    track: str
    objective_seconds: float | None
    profile: bool
    prediction_log: PredictionLogSettings | None
    timeout_seconds: float
    max_request_bytes: int
    max_rows: int
    drain_seconds: float
    address: str
    http_port: int
    metrics_port: int
    grpc_port: int | None
    tls_dir: Path | None
    device: str

    @property
    def identity(self) -> dict[str, str]:
        """What serves, for records and profiles."""
        return {
            "deployment": self.deployment,
            "model": self.model_name,
            "version": self.model_version,
            "track": self.track,
        }

    @property
    def metric_labels(self) -> dict[str, str]:
        """The labels of all metrics."""
        return {"deployment": self.deployment, "model_version": self.model_version, "track": self.track}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and validate the settings.

    Raises:
        SettingsError: Names every variable that is wrong.
    """
    reader = _Reader(environment)
    settings = Settings(
        model_dir=Path(reader.text("MODELYARD_MODEL_DIR", default="/modelyard/model")),
        model_name=reader.matching("MODELYARD_MODEL_NAME", _NAME, "letters, digits, '.', '_' and '-'"),
        model_version=reader.matching("MODELYARD_MODEL_VERSION", _VERSION, "a whole number from 1"),
        model_digest=reader.matching(
            "MODELYARD_MODEL_DIGEST", _DIGEST, "'sha256:' and 64 hexadecimal digits", default=""
        )
        or None,
        deployment=reader.matching("MODELYARD_DEPLOYMENT", _NAME, "letters, digits, '.', '_' and '-'"),
        track=reader.one_of("MODELYARD_TRACK", TRACKS, default="stable"),
        objective_seconds=reader.number("MODELYARD_OBJECTIVE_SECONDS", float, (0.0001, 3600), default=None),
        profile=reader.one_of("MODELYARD_PROFILE", ("on", "off"), default="on") == "on",
        prediction_log=_prediction_log(reader, environment.get("MODELYARD_PREDICTION_LOG_DIR", "")),
        timeout_seconds=reader.number("MODELYARD_TIMEOUT_SECONDS", float, (0.001, 3600), default=10.0),
        max_request_bytes=reader.number("MODELYARD_MAX_REQUEST_BYTES", int, (1024, 1024 * MIB), default=16 * MIB),
        max_rows=reader.number("MODELYARD_MAX_ROWS", int, (1, 10_000_000), default=65536),
        drain_seconds=reader.number("MODELYARD_DRAIN_SECONDS", float, (0, 3600), default=10.0),
        address=reader.matching("MODELYARD_ADDRESS", _ADDRESS, "an IP address, or empty for all", default=""),
        http_port=reader.number("MODELYARD_HTTP_PORT", int, (0, 65535), default=8080),
        metrics_port=reader.number("MODELYARD_METRICS_PORT", int, (0, 65535), default=8081),
        grpc_port=reader.number("MODELYARD_GRPC_PORT", int, (0, 65535), default=None),
        tls_dir=Path(environment["MODELYARD_TLS_DIR"]) if environment.get("MODELYARD_TLS_DIR") else None,
        device=reader.one_of("MODELYARD_DEVICE", DEVICES, default="cpu"),
    )
    if reader.problems:
        raise SettingsError("; ".join(reader.problems))
    return settings


def _prediction_log(reader: "_Reader", folder: str) -> PredictionLogSettings | None:
    percent = reader.number("MODELYARD_PREDICTION_LOG_PERCENT", float, (0.01, 100), default=100.0)
    columns = reader.names("MODELYARD_PREDICTION_LOG_COLUMNS")
    return PredictionLogSettings(Path(folder), percent, columns) if folder else None


class _Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._environment.get(name, default)
        if value is None:
            self.problems.append(f"{name}: must be set")
            return ""
        return value

    def matching(self, name: str, pattern: re.Pattern[str], allowed: str, *, default: str | None = None) -> str:
        value = self.text(name, default=default)
        if name in self._environment and not pattern.fullmatch(value):
            self._refuse(name, allowed, value)
        return value

    def one_of(self, name: str, allowed: tuple[str, ...], *, default: str) -> str:
        value = self.text(name, default=default)
        if value not in allowed:
            self._refuse(name, "one of " + ", ".join(allowed), value)
        return value

    def number(self, name: str, parse: Callable[[str], T], bounds: tuple[float, float], *, default: T) -> T:
        text = self._environment.get(name)
        if text is None:
            return default
        low, high = bounds
        try:
            value = parse(text)
            within = low <= float(text) <= high
        except ValueError:
            value, within = default, False
        if not within:
            kind = "a whole number" if parse is int else "a number"
            self._refuse(name, f"{kind} from {low} to {high}", text)
        return value

    def names(self, name: str) -> tuple[str, ...]:
        text = self._environment.get(name, "[]")
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self._refuse(name, 'a JSON list of strings, such as ["distance"]', text)
            return ()
        return tuple(dict.fromkeys(values))

    def _refuse(self, name: str, allowed: str, value: str) -> None:
        self.problems.append(f"{name}: must be {allowed}, got '{value[:100]}'")
