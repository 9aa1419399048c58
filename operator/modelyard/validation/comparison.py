"""How an input differs from what the previous run read. Pure.

Every statistical finding must be both large and impossible to explain by chance: rows that are drawn from the same
source again give none. The test is exact and needs no assumption about distributions: if n earlier and m present values
come from one source, the probability that k given ones of all fall into one of the two samples is a ratio of binomials.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelyard.api.v1alpha1.trainingrun import NewColumnPolicy
from modelyard.validation.findings import Check, Finding, Severity, percent, quoted
from modelyard.validation.profile import NUMERIC, ColumnProfile, InputProfile, Kind
from modelyard.validation.summary import ColumnSummary, TableSummary

CHANCE: Final = 1e-6
"""A finding that chance gives more often than this, over all columns of a table, is none."""
LARGE: Final = 0.01
"""Least share of the rows that is worth telling."""
STRANGE: Final = 0.3
"""Least distance from its earlier self at which a column may be another one."""
_SHOWN: Final = 3


def compare(table: TableSummary, previous: InputProfile, new_columns: NewColumnPolicy) -> tuple[Finding, ...]:
    """Return how an input differs from the profile that the previous run left.

    Args:
        table: the present rows.
        previous: the profile of the same input.
        new_columns: what a column that the previous run did not have means.
    """
    present = table.profile()
    before, now = previous.by_name, present.by_name
    chance = CHANCE / max(1, len(now))
    findings = [_error(Check.COLUMNS, "is gone, the previous run had it", name) for name in before if name not in now]
    findings += [_new(name, new_columns) for name in now if name not in before]
    for name in sorted(now.keys() & before.keys()):
        findings += _type(now[name], before[name], chance)
        findings += _range_left(table.columns[name], now[name], before[name], chance)
        findings += _new_categories(table.columns[name], now[name], before[name], chance)
    return (*findings, *swapped(now, before))


def swapped(now: Mapping[str, ColumnProfile], before: Mapping[str, ColumnProfile]) -> tuple[Finding, ...]:
    """Return the columns that hold what another one held: errors where values moved between columns, else warnings.

    That a column looks as another one did is no error by itself: it may be a copy, or a year that follows another.
    It is one when the other column, too, now looks as a further one did, and the last on this way is not new itself.
    """
    own = {name: distance(now[name], before[name]) for name in _shared(now, before)}
    fits = _fits(now, before, own)
    findings = []
    for name, fit in sorted(fits.items()):
        message = (
            f"now holds what {quoted(fit.column)} held: it differs from its own earlier values by "
            f"{percent(fit.own)}, from those of {quoted(fit.column)} by {percent(fit.other)}"
        )
        moved = fit.column in fits and own.get(_end(name, fits), 0.0) < STRANGE
        severity = Severity.ERROR if moved else Severity.WARNING
        findings.append(Finding(Check.SWAPPED, severity, message, name, fit.own))
    return tuple(findings)


def chance_of(count: int, sample: int, other: int) -> float:
    """Return the probability that `count` given values of two samples of one source are all in the first one.

    Args:
        count: how many values.
        sample: size of the first sample.
        other: size of the second one.
    """
    if count > sample:
        return 0.0
    lost, whole = math.lgamma(sample - count + 1), sample + other
    return math.exp(math.lgamma(sample + 1) - lost - math.lgamma(whole + 1) + math.lgamma(whole - count + 1))


def distance(left: ColumnProfile, right: ColumnProfile) -> float:
    """Return how differently the values of two columns are spread, from 0 (not at all) to 1.

    For numbers the greatest distance of the distribution functions, for texts half the sum of differences of shares.
    """
    if left.type in NUMERIC:
        return _distance_of_numbers(left.quantiles, right.quantiles)
    return _distance_of_shares(left, right)


@dataclass(frozen=True)
class _Fit:
    """Another column whose earlier values a column fits better than its own."""

    column: str
    own: float
    other: float


def _error(check: Check, message: str, column: str, share: float = 1.0) -> Finding:
    return Finding(check, Severity.ERROR, message, column, share)


def _warning(check: Check, message: str, column: str, share: float) -> Finding:
    return Finding(check, Severity.WARNING, message, column, share)


def _new(name: str, policy: NewColumnPolicy) -> Finding:
    severity = Severity.ERROR if policy is NewColumnPolicy.FAIL else Severity.WARNING
    return Finding(Check.COLUMNS, severity, "is new: the previous run did not have it", name)


def _type(now: ColumnProfile, before: ColumnProfile, chance: float) -> Iterator[Finding]:
    if before.type is None or now.type is before.type:
        return
    if now.type is None:
        rows_before = before.present + before.missing
        if now.missing and chance_of(before.present, rows_before, now.missing) < chance:
            yield _error(Check.MISSING, "has no values, the previous run had some", now.name)
        return
    if {now.type, before.type} <= NUMERIC:
        yield from _fractions(now, before, chance)
        return
    wrong = _strangers(now, before.type)
    share = wrong / (now.present + now.missing)
    if wrong:
        message = f"was {before.type.value}, now {wrong} values ({percent(share)}) are not"
        yield _error(Check.TYPE, message, now.name, share)
    elif chance_of(_strangers(before, now.type), before.present, now.present) < chance:
        yield _error(Check.TYPE, f"was {before.type.value}, is now {now.type.value}", now.name)


def _strangers(column: ColumnProfile, type_: Kind) -> int:
    """Return how many values would not be in a column of a type; texts may look like anything."""
    accepted = {Kind.TEXT: frozenset(Kind) - {Kind.OTHER}}.get(type_, NUMERIC if type_ in NUMERIC else {type_})
    return sum(count for kind, count in column.kinds.items() if kind not in accepted)


def _fractions(now: ColumnProfile, before: ColumnProfile, chance: float) -> Iterator[Finding]:
    count = now.kinds.get(Kind.NUMBER, 0)
    share = count / now.present
    if before.type is Kind.INTEGER and share >= LARGE and chance_of(count, now.present, before.present) < chance:
        message = f"had whole numbers only, now {percent(share)} have a fraction"
        yield _warning(Check.TYPE, message, now.name, share)


def _range_left(column: ColumnSummary, now: ColumnProfile, before: ColumnProfile, chance: float) -> Iterator[Finding]:
    if not ({now.type, before.type} <= NUMERIC) or before.minimum is None or before.maximum is None:
        return
    sides: tuple[tuple[Callable[[float], int], float, str], ...] = (
        (column.numbers.below, before.minimum, "less than the least"),
        (column.numbers.above, before.maximum, "greater than the greatest"),
    )
    for count_beyond, bound, what in sides:
        count = count_beyond(bound)
        share = count / now.present
        if share >= LARGE and chance_of(count, now.present, before.present) < chance:
            message = f"has {percent(share)} of its values {what} of the previous run, {bound:g}"
            yield _warning(Check.RANGE, message, now.name, share)


def _new_categories(
    column: ColumnSummary, now: ColumnProfile, before: ColumnProfile, chance: float
) -> Iterator[Finding]:
    if now.type not in {Kind.TEXT, Kind.BOOLEAN} or before.type is not now.type or not before.categories_complete:
        return
    if not (column.has_categories and column.texts.is_complete):
        return
    known = {category.value for category in before.categories}
    new = {text: count for text, count in column.texts.counts.items() if text not in known}
    share = sum(new.values()) / now.present
    each = chance / max(1, len(new))
    if share >= LARGE and any(chance_of(count, now.present, before.present) < each for count in new.values()):
        shown = sorted(new, key=lambda text: (-new[text], text))[:_SHOWN]
        names = ", ".join(map(quoted, shown)) + (f" and {len(new) - _SHOWN} more" if len(new) > _SHOWN else "")
        message = f"has {percent(share)} of its values in categories that the previous run did not have: {names}"
        yield _warning(Check.CATEGORIES, message, now.name, share)


def _shared(now: Mapping[str, ColumnProfile], before: Mapping[str, ColumnProfile]) -> tuple[str, ...]:
    return tuple(name for name in now if name in before and _comparable(now[name], before[name]))


def _fits(
    now: Mapping[str, ColumnProfile], before: Mapping[str, ColumnProfile], own: Mapping[str, float]
) -> dict[str, _Fit]:
    """Return, by column, the other column whose earlier values it fits clearly better than its own."""
    fits = {}
    for name, score in own.items():
        if score < STRANGE:
            continue
        column = now[name]
        others = [other for other in before if other != name and _comparable(column, before[other])]
        scores = {other: distance(column, before[other]) for other in others}
        best = min(sorted(scores), key=scores.__getitem__, default=None)
        if best is None:
            continue
        noise = _noise(column.present, before[name].present) + _noise(column.present, before[best].present)
        if scores[best] <= score / 2 and score - scores[best] > noise:
            fits[name] = _Fit(best, score, scores[best])
    return fits


def _comparable(left: ColumnProfile, right: ColumnProfile) -> bool:
    if {left.type, right.type} <= NUMERIC:
        return bool(left.quantiles and right.quantiles)
    return left.type is right.type is Kind.TEXT and bool(left.categories and right.categories)


def _end(name: str, fits: Mapping[str, _Fit]) -> str:
    """Return the last column on the way from a column to the one as which it looks, and so on; none of a circle."""
    at, seen = name, set[str]()
    while at in fits and at not in seen:
        seen.add(at)
        at = fits[at].column
    return "" if at in seen else at


def _noise(present: int, earlier: int) -> float:
    """Return the distance of two samples of one distribution that chance exceeds with the probability CHANCE."""
    return math.sqrt(math.log(2 / CHANCE) / 2 * (1 / present + 1 / earlier))


def _distance_of_numbers(left: Sequence[float], right: Sequence[float]) -> float:
    points = np.union1d(left, right)
    shares = [np.searchsorted(quantiles, points, side="right") / len(quantiles) for quantiles in (left, right)]
    return float(np.abs(shares[0] - shares[1]).max())


def _distance_of_shares(left: ColumnProfile, right: ColumnProfile) -> float:
    shares = [
        {category.value: category.count / column.present for category in column.categories} for column in (left, right)
    ]
    listed = sum(abs(shares[0].get(value, 0.0) - shares[1].get(value, 0.0)) for value in shares[0] | shares[1])
    rest = abs(sum(shares[0].values()) - sum(shares[1].values()))
    return (listed + rest) / 2
