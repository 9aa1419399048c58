"""One input, read once and held against all that is expected of it."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from modelyard.api.v1alpha1.trainingrun import Expectations, SchemaReference
from modelyard.validation.comparison import compare
from modelyard.validation.expectations import check
from modelyard.validation.findings import Check, Finding, Severity
from modelyard.validation.profile import InputProfile
from modelyard.validation.reading import RowsUnreadableError, read_batches
from modelyard.validation.summary import TableSummary


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        profile: what is in the input; None when it cannot be read.
        findings: what is wrong or odd.
    """

    profile: InputProfile | None
    findings: tuple[Finding, ...]


def check_input(
    name: str, path: Path, expectations: Expectations, previous: InputProfile | None, now: datetime
) -> Checked:
    """Read an input and check it.

    Args:
        name: name of the input.
        path: its file or folder.
        expectations: what must hold of it.
        previous: its profile in the previous run, if there is one.
        now: aware time, against which the age of its newest row is measured.
    """
    table = TableSummary(name, unique=[column.name for column in expectations.columns if column.unique])
    try:
        for batch in read_batches(path):
            table.add(batch.rows, batch.columns)
    except RowsUnreadableError as error:
        return Checked(None, (Finding(Check.READABLE, Severity.ERROR, f"cannot be read: {error}", input=name),))
    findings = check(table, expectations, now)
    if expectations.schema_ is SchemaReference.SAME_AS_PREVIOUS:
        findings += _compared(table, expectations, previous)
    return Checked(table.profile(), tuple(replace(finding, input=name) for finding in findings))


def _compared(table: TableSummary, wanted: Expectations, previous: InputProfile | None) -> tuple[Finding, ...]:
    if previous is None:
        message = "no earlier run of the model has a profile of it, so nothing was compared"
        return (Finding(Check.PREVIOUS, Severity.WARNING, message, share=0.0),)
    return compare(table, previous, wanted.on_new_columns)
