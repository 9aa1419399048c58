"""What was declared about an input, held against its rows. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np

from modelyard.api.v1alpha1.trainingrun import (
    ColumnExpectation,
    ColumnType,
    Expectations,
    NewColumnPolicy,
    SchemaReference,
)
from modelyard.validation.findings import Check, Finding, Severity, percent
from modelyard.validation.profile import NUMERIC, Kind
from modelyard.validation.summary import ColumnSummary, TableSummary

_HUNDRED: Final = 100
_ACCEPTED: Final = {
    ColumnType.NUMBER: NUMERIC,
    ColumnType.INTEGER: frozenset({Kind.INTEGER}),
    ColumnType.TEXT: frozenset(Kind) - {Kind.OTHER},  # in a file without types a text may look like anything
    ColumnType.BOOLEAN: frozenset({Kind.BOOLEAN}),
    ColumnType.TIME: frozenset({Kind.TIME}),
}


def check(table: TableSummary, wanted: Expectations, now: datetime) -> tuple[Finding, ...]:
    """Return what does not hold of an input.

    Args:
        table: its rows.
        wanted: what must hold of them.
        now: aware time, against which the age of the newest row is measured.
    """
    return (*_rows(table, wanted), *_age(table, wanted, now), *_columns(table, wanted))


def _error(check: Check, message: str, column: str = "", share: float = 1.0) -> Finding:
    return Finding(check, Severity.ERROR, message, column, share)


def _rows(table: TableSummary, wanted: Expectations) -> Iterator[Finding]:
    if wanted.minimum_rows is not None and table.rows < wanted.minimum_rows:
        yield _error(Check.ROWS, f"it has {table.rows} rows, at least {wanted.minimum_rows} expected")
    if wanted.maximum_rows is not None and table.rows > wanted.maximum_rows:
        yield _error(Check.ROWS, f"it has {table.rows} rows, at most {wanted.maximum_rows} allowed")
    allowed = wanted.maximum_duplicate_percent
    share = table.duplicate_rows / table.rows if table.rows else 0.0
    if allowed is not None and share * _HUNDRED > float(allowed):
        message = f"{percent(share)} of its rows repeat another row, at most {allowed} % allowed"
        yield _error(Check.DUPLICATES, message, share=share)


def _age(table: TableSummary, wanted: Expectations, now: datetime) -> Iterator[Finding]:
    name, allowed = wanted.time_column, wanted.maximum_age_seconds
    if name is None or allowed is None:
        return
    column = table.columns.get(name)
    if column is None:
        yield _absent(name, "`timeColumn`")
    elif not column.times.count:
        yield _error(Check.AGE, "is `timeColumn`, but has no times", name)
    else:
        newest = column.times.maximum
        age = int(now.timestamp() - newest)
        if age > allowed:
            when = np.datetime64(int(newest), "s")
            yield _error(Check.AGE, f"ends at {when}Z, {age} s ago, at most {allowed} s allowed", name)


def _columns(table: TableSummary, wanted: Expectations) -> Iterator[Finding]:
    declared = {column.name: column for column in wanted.columns}
    for name, column in declared.items():
        found = table.columns.get(name)
        if found is None:
            yield _absent(name, "`columns`")
        else:
            yield from _column(table, found, column)
    for name, found in table.columns.items():
        own = declared.get(name)
        allowed = _missing_allowed(own, wanted)
        if allowed is not None:
            yield from _missing(table, found, allowed)
    if wanted.schema_ is SchemaReference.DECLARED and wanted.on_new_columns is NewColumnPolicy.FAIL:
        for name in sorted(table.columns.keys() - declared.keys()):
            yield _error(Check.COLUMNS, "is new: `columns` does not declare it", name)


def _absent(name: str, where: str) -> Finding:
    return _error(Check.COLUMNS, f"is not there, {where} names it", name)


def _missing_allowed(own: ColumnExpectation | None, wanted: Expectations) -> str | None:
    if own is None:
        return wanted.maximum_missing_percent
    if not own.nullable:
        return "0"
    return wanted.maximum_missing_percent if own.maximum_missing_percent is None else own.maximum_missing_percent


def _missing(table: TableSummary, column: ColumnSummary, allowed: str) -> Iterator[Finding]:
    share = (table.rows - column.present) / table.rows if table.rows else 0.0
    if share * _HUNDRED > float(allowed):
        bound = f"at most {allowed} % allowed" if float(allowed) else "none allowed"
        yield _error(Check.MISSING, f"has {percent(share)} missing, {bound}", column.name, share)


def _column(table: TableSummary, column: ColumnSummary, wanted: ColumnExpectation) -> Iterator[Finding]:
    rows = table.rows
    if wanted.type is not None:
        wrong = sum(count for kind, count in column.kinds.items() if kind not in _ACCEPTED[wanted.type])
        if wrong:
            message = f"has {wrong} values ({percent(wrong / rows)}) that are no {wanted.type.value}"
            yield _error(Check.TYPE, message, column.name, wrong / rows)
    yield from _range(rows, column, wanted)
    yield from _categories(rows, column, wanted)
    repeated = column.hashes.repeated if column.hashes else 0
    if wanted.unique and repeated:
        message = f"has {repeated} values ({percent(repeated / rows)}) that repeat another one, none allowed"
        yield _error(Check.UNIQUE, message, column.name, repeated / rows)


def _range(rows: int, column: ColumnSummary, wanted: ColumnExpectation) -> Iterator[Finding]:
    numbers = column.numbers
    outside = []
    if wanted.minimum is not None and (count := numbers.below(float(wanted.minimum))):
        outside.append((count, f"less than {wanted.minimum}, the least {numbers.minimum:g}"))
    if wanted.maximum is not None and (count := numbers.above(float(wanted.maximum))):
        outside.append((count, f"greater than {wanted.maximum}, the greatest {numbers.maximum:g}"))
    if (wanted.minimum is not None or wanted.maximum is not None) and column.infinite:
        outside.append((column.infinite, "infinite"))
    for count, what in outside:
        yield _error(Check.RANGE, f"has {count} values ({percent(count / rows)}) {what}", column.name, count / rows)


def _categories(rows: int, column: ColumnSummary, wanted: ColumnExpectation) -> Iterator[Finding]:
    outside = _outside(column, wanted.categories) if wanted.categories else 0
    if outside:
        message = f"has {outside} values ({percent(outside / rows)}) outside its {len(wanted.categories)} `categories`"
        yield _error(Check.CATEGORIES, message, column.name, outside / rows)


def _outside(column: ColumnSummary, categories: Sequence[str]) -> int:
    """Return how many values are none of the categories; a number is one whatever its spelling."""
    if column.type in NUMERIC:
        return column.numbers.outside([number for number in map(_number, categories) if number is not None]) + (
            column.infinite
        )
    if not column.has_categories:
        return column.present
    share = column.texts.share_outside(categories)
    return max(round(share * column.present), 1) if share else 0


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
