"""What is wrong or odd about rows, and how it is told. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

SCHEMA: Final = "modelyard.dev/data-findings/v1"
FINDINGS_FILE: Final = "findings.json"
MESSAGE_CHARACTERS: Final = 560
"""Most characters of a summary; the operator puts the step's name before it and cuts at 700."""

_NAMED: Final = 60
_NEEDS_NO_SHARE: Final = 1.0


class Severity(StrEnum):
    """Does it end the run?"""

    ERROR = "Error"
    WARNING = "Warning"


class Check(StrEnum):
    """What was checked."""

    READABLE = "Readable"
    ROWS = "Rows"
    DUPLICATES = "Duplicates"
    AGE = "Age"
    COLUMNS = "Columns"
    TYPE = "Type"
    MISSING = "Missing"
    RANGE = "Range"
    CATEGORIES = "Categories"
    UNIQUE = "Unique"
    SWAPPED = "Swapped"
    PREVIOUS = "Previous"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        check: what was checked.
        severity: Error ends the run.
        message: what is wrong with the numbers and what is allowed, without the name of input and column.
        column: the column, empty when it is about the whole input.
        share: which share of the rows it affects, from 0 to 1; the worst are told first.
        input: the input.
    """

    check: Check
    severity: Severity
    message: str
    column: str = ""
    share: float = _NEEDS_NO_SHARE
    input: str = ""

    @property
    def text(self) -> str:
        """The message with the column's name."""
        return f"column {quoted(self.column)} {self.message}" if self.column else self.message


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings that end the run."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order in which they are told: errors first, then by share."""
    return tuple(sorted(findings, key=_rank))


def summary(errors: Sequence[Finding]) -> str:
    """Return the worst errors as one message of at most MESSAGE_CHARACTERS, and how many more there are.

    Such as: input 'flights': column 'dep_delay' has 34.2 % missing, at most 5 % allowed; … (3 more, see the log).
    """
    ordered = worst_first(errors)
    told = len(ordered)
    while told > 1 and len(_told(ordered, told)) > MESSAGE_CHARACTERS:
        told -= 1
    text = _told(ordered, told)
    return text if len(text) <= MESSAGE_CHARACTERS else text[: MESSAGE_CHARACTERS - 1] + "…"


def to_json(findings: Iterable[Finding]) -> str:
    """Return findings as a file has them."""
    return json.dumps({"schema": SCHEMA, "findings": [asdict(finding) for finding in worst_first(findings)]}, indent=1)


def table(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the lines of a table for a log, with a header; none when there are no findings."""
    rows = [(f.severity.value, f.input, f.column or "-", f.check.value, f.message) for f in worst_first(findings)]
    if not rows:
        return ()
    rows.insert(0, ("SEVERITY", "INPUT", "COLUMN", "CHECK", "FINDING"))
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    return tuple("  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows)


def percent(share: float) -> str:
    """Return a share as percent that never says 0 or 100 unless it is."""
    value = share * 100
    if 0 < value < 0.1:  # noqa: PLR2004 - what one digit cannot show
        return "< 0.1 %"
    if 99.9 < value < 100:  # noqa: PLR2004
        return "> 99.9 %"
    return f"{value:.1f} %".replace(".0 %", " %")


def quoted(name: str) -> str:
    """Return a name from data between quotes, cut when it is long."""
    return f"'{name if len(name) <= _NAMED else name[: _NAMED - 1] + '…'}'"


def _rank(finding: Finding) -> tuple[bool, float, str, str, str]:
    is_warning = finding.severity is not Severity.ERROR
    return (is_warning, -finding.share, finding.input, finding.column, finding.check)


def _told(ordered: Sequence[Finding], count: int) -> str:
    parts = [
        f"input '{name}': " + "; ".join(finding.text for finding in group)
        for name, group in groupby(ordered[:count], key=lambda finding: finding.input)
    ]
    more = len(ordered) - count
    return "; ".join(parts) + (f" ({more} more, see the log of container 'validate')" if more else "")
