"""The one place where the operator reads its environment and its flags."""

import argparse
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Generic, TypeVar, get_type_hints

PREFIX = "MODELYARD_"

T = TypeVar("T")


class SettingsError(ValueError):
    """A variable or flag is missing or has a value that is not allowed; the message names it."""


@dataclass(frozen=True)
class Rule(Generic[T]):
    """How the text of a setting is read, and what it is for; `parse` raises ValueError("<what is allowed>")."""

    parse: Callable[[str], T]
    help: str


def _matching(expression: str, allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(expression, text):
            raise ValueError(allowed)
        return text

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return parse


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


_namespace = _matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "the name of a namespace")
_object_name = _matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "a lower-case DNS name")
_image = _matching(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,1023}", "an image reference such as registry/name:tag")
_word = _matching(r"[!-~]{1,253}", "1 to 253 printable ASCII characters without spaces")


def _namespaces(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_namespace(name.strip()) for name in text.split(",") if name.strip()))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator is told from outside: `MODELYARD_<NAME>`, or the flag `--<name>`, which wins."""

    namespace: Annotated[str, Rule(_namespace, "namespace that the operator runs in")]
    trainer_image: Annotated[str, Rule(_image, "image of fetch, publish and the built-in steps")]
    server_image: Annotated[str, Rule(_image, "image of the model server")]
    image_pull_policy: Annotated[
        str, Rule(_one_of("IfNotPresent", "Always", "Never"), "imagePullPolicy of our images in children")
    ] = "IfNotPresent"
    watch_namespaces: Annotated[
        tuple[str, ...], Rule(_namespaces, "namespaces to serve, separated by commas; all when absent")
    ] = ()
    workers: Annotated[int, Rule(_integer(1, 256), "passes that a kind makes at once")] = 8
    resync_seconds: Annotated[
        int, Rule(_integer(10, 86_400), "seconds after which every object is looked at again")
    ] = 600
    pass_deadline_seconds: Annotated[int, Rule(_integer(1, 3600), "seconds that one pass may take")] = 60
    drain_seconds: Annotated[int, Rule(_integer(0, 600), "seconds that running passes get when the operator stops")] = (
        15
    )
    deaf_seconds: Annotated[
        int, Rule(_integer(60, 3600), "seconds without a word from a watch after which /livez fails")
    ] = 300
    lease_name: Annotated[str, Rule(_object_name, "Lease that elects the leader")] = "modelyard-operator"
    lease_duration_seconds: Annotated[
        int, Rule(_integer(3, 300), "seconds after which a silent leader is replaced")
    ] = 15
    lease_renew_deadline_seconds: Annotated[
        int, Rule(_integer(2, 299), "seconds after which a leader that cannot renew gives up")
    ] = 10
    lease_retry_seconds: Annotated[int, Rule(_integer(1, 60), "seconds between two tries at the Lease")] = 2
    identity: Annotated[str, Rule(_word, "name of this replica in the Lease: the pod's name")] = field(
        default_factory=socket.gethostname
    )
    bind_address: Annotated[str, Rule(_word, "address of /livez, /readyz and /metrics")] = "0.0.0.0"  # noqa: S104 the kubelet probes the pod's address
    port: Annotated[int, Rule(_integer(0, 65_535), "port of /livez, /readyz and /metrics; 0 picks one")] = 8080
    log_level: Annotated[
        str, Rule(_one_of("DEBUG", "INFO", "WARNING", "ERROR"), "least severe record that is logged")
    ] = "INFO"
    log_format: Annotated[str, Rule(_one_of("json", "text"), "format of log records")] = "json"
    kubeconfig: Annotated[
        str | None, Rule(str, "kubeconfig file; when absent, the pod's own account, then the default file")
    ] = None

    def __post_init__(self) -> None:
        deadline = self.lease_renew_deadline_seconds
        if not self.lease_retry_seconds < deadline < self.lease_duration_seconds:
            raise SettingsError(
                f"{PREFIX}LEASE_RENEW_DEADLINE_SECONDS: must be greater than "
                f"{PREFIX}LEASE_RETRY_SECONDS ({self.lease_retry_seconds}) and less than "
                f"{PREFIX}LEASE_DURATION_SECONDS ({self.lease_duration_seconds}), got '{deadline}'"
            )


def load_settings(environ: Mapping[str, str], arguments: Sequence[str] = ()) -> Settings:
    """Settings from flags, then from the environment, then from defaults; an empty text counts as absent.

    Raises:
        SettingsError: one that is required is missing, or a value is not allowed.
    """
    rules = _rules()
    flags = vars(_parser(rules).parse_args(arguments))
    given: dict[str, object] = {}
    for name, rule in rules.items():
        if text := flags[name] or environ.get(_variable(name)):
            given[name] = _parse(rule, _variable(name), text)
    missing = [_variable(name) for name in ("namespace", "trainer_image", "server_image") if name not in given]
    if missing:
        raise SettingsError(f"{', '.join(missing)}: must be set")
    return Settings(**given)  # type: ignore[arg-type]  # each rule returns its field's type


def _rules() -> dict[str, Rule[object]]:
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _parse(rule: Rule[object], variable: str, text: str) -> object:
    try:
        return rule.parse(text)
    except ValueError as error:
        raise SettingsError(f"{variable}: must be {error}, got '{text}'") from None


def _parser(rules: Mapping[str, Rule[object]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelyard-operator", description="A flag wins over the environment variable in brackets."
    )
    for name, rule in rules.items():
        parser.add_argument("--" + name.replace("_", "-"), metavar="VALUE", help=f"{rule.help} [{_variable(name)}]")
    return parser
