"""Whether the API server would take an object, asked without one. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from modelyard.api.schema.crd import object_schema
from modelyard.api.schema.structural import Schema
from modelyard.api.v1alpha1 import KINDS
from modelyard.api.v1alpha1.names import API_VERSION, GROUP
from modelyard.manifests.documents import Document
from modelyard.manifests.paths import Path, shown
from modelyard.manifests.rules import Unchecked, broken_rules
from modelyard.manifests.structure import Problem, nearest, problems, with_defaults

_MAX_NAME: Final = 253
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Verdict(StrEnum):
    """What the API server would say."""

    VALID = "Valid"
    INVALID = "Invalid"
    SKIPPED = "Skipped"


@dataclass(frozen=True)
class Finding:
    """One thing to say about a field."""

    line: int
    field: str
    message: str


@dataclass(frozen=True)
class Report:
    """What was found in one document.

    Attributes:
        line: where the document begins.
        kind: its kind, empty when it says none.
        name: the object's name, empty when it says none.
        verdict: what the API server would say.
        findings: why it is invalid or skipped.
        unchecked: rules that only the API server can evaluate.
    """

    line: int
    kind: str
    name: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Finding, ...] = ()


def validate(document: Document) -> Report:
    """Check a document against the schema and the rules of its kind."""
    value = document.value
    if not isinstance(value, dict):
        return _report(document, Verdict.INVALID, [Problem((), "must be an object with apiVersion and kind")])
    kind, version = str(value.get("kind", "")), str(value.get("apiVersion", ""))
    if version.partition("/")[0] != GROUP:
        what = f"{version} {kind}".strip() or "has no apiVersion and kind"
        skipped = Problem((), f"not checked, since it is none of {GROUP}: {what}")
        return _report(document, Verdict.SKIPPED, [skipped])
    schema = _schemas().get(kind)
    if schema is None or version != API_VERSION:
        return _report(document, Verdict.INVALID, [_unknown_kind(kind, version)])
    stored = with_defaults(_written(value), schema)
    found = [*_metadata_problems(value.get("metadata")), *problems(stored, schema)]
    broken = list(broken_rules(stored, schema, {problem.path for problem in found}))
    found += [item for item in broken if isinstance(item, Problem)]
    unchecked = [item for item in broken if isinstance(item, Unchecked)]
    return _report(document, Verdict.INVALID if found else Verdict.VALID, found, unchecked)


def _written(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people write of an object: the API server drops a status that comes with a new object."""
    return {name: part for name, part in value.items() if name != "status"}


def _metadata_problems(metadata: Any) -> Iterator[Problem]:
    if not isinstance(metadata, dict):
        yield Problem(("metadata",), "must be an object with a name")
        return
    name, prefix = metadata.get("name"), metadata.get("generateName")
    if name is None:
        if not isinstance(prefix, str) or not prefix:
            yield Problem(("metadata", "name"), "must be set")
    elif not isinstance(name, str) or len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        yield Problem(
            ("metadata", "name"),
            f"must be at most {_MAX_NAME} lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
        )
    for part in ("labels", "annotations"):
        yield from _texts_problems(metadata.get(part), ("metadata", part))


def _texts_problems(value: Any, path: Path) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, dict):
        yield Problem(path, "must be an object")
        return
    for name, text in value.items():
        if not isinstance(text, str):
            yield Problem((*path, name), "must be a text; put it in quotes")


def _unknown_kind(kind: str, version: str) -> Problem:
    if version != API_VERSION:
        return Problem(("apiVersion",), f"must be {API_VERSION}, is '{version}'")
    known = sorted(_schemas())
    return Problem(("kind",), f"must be one of {', '.join(known)}, is '{kind}'{nearest(kind, known)}")


def _report(
    document: Document, verdict: Verdict, found: Sequence[Problem], unchecked: Sequence[Unchecked] = ()
) -> Report:
    findings = tuple(Finding(document.line_of(item.path), shown(item.path), item.message) for item in found)
    left = tuple(
        Finding(document.line_of(item.path), shown(item.path), f"rule not checked: {item.rule} ({item.problem})")
        for item in unchecked
    )
    value = document.value if isinstance(document.value, dict) else {}
    metadata = value.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return Report(document.line, str(value.get("kind", "")), str(name), verdict, findings, left)


@cache
def _schemas() -> Mapping[str, Schema]:
    return {kind.kind: object_schema(kind) for kind in KINDS}
