"""Manifests of files, folders and standard input, checked without a cluster."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from modelyard.manifests.documents import ManifestError, parse_documents
from modelyard.manifests.validation import Finding, Report, Verdict, validate

STANDARD_INPUT: Final = "-"
_PATTERNS: Final = ("*.yaml", "*.yml")


class ValidateError(Exception):
    """A file cannot be read; the text names it."""


@dataclass(frozen=True)
class FileReport:
    """What was found in one document of a file."""

    file: str
    report: Report

    def as_data(self) -> Mapping[str, Any]:
        """Return it as JSON has it."""
        return {"file": self.file, **asdict(self.report)}

    def lines(self) -> Iterator[str]:
        """Yield a line for each thing to say: `file:line: field: message`."""
        report = self.report
        who = f"{report.kind}/{report.name}".strip("/") or "document"
        if report.verdict is Verdict.VALID:
            yield f"{self.file}:{report.line}: {who}: valid"
        for finding in (*report.findings, *report.unchecked):
            yield f"{self.file}:{finding.line}: {finding.field or who}: {finding.message}"


def validate_files(names: Sequence[str]) -> Iterator[FileReport]:
    """Check all documents of files, folders (`*.yaml` and `*.yml` beneath them) and `-`, standard input.

    Raises:
        ValidateError: a file cannot be read, or a folder has none.
    """
    for name in names:
        for file in _files(name):
            yield from check_text(file, _read(file))


def check_text(file: str, text: str) -> Iterator[FileReport]:
    """Check the documents of a text that stands in `file`."""
    try:
        for document in parse_documents(text):
            yield FileReport(file, validate(document))
    except ManifestError as error:
        yield FileReport(file, Report(error.line, "", "", Verdict.INVALID, (Finding(error.line, "", str(error)),)))


def valid(reports: Iterable[FileReport]) -> bool:
    """Say whether the API server would refuse none of them."""
    return all(item.report.verdict is not Verdict.INVALID for item in reports)


def _files(name: str) -> Iterator[str]:
    folder = Path(name)
    if name == STANDARD_INPUT or not folder.is_dir():
        yield name
        return
    found = sorted({file for pattern in _PATTERNS for file in folder.rglob(pattern) if not _hidden(file, folder)})
    if not found:
        raise ValidateError(f"{name}: has no file {' or '.join(_PATTERNS)}")
    yield from map(str, found)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == STANDARD_INPUT else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValidateError(f"{name}: cannot be read: {error}") from None
