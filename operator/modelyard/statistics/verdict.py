"""The verdict on a new version: a total function of what was measured, and one sentence that says why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from typing_extensions import override

from modelyard.api.v1alpha1.modelversion import Verdict
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Goal, Metric, Slice
from modelyard.statistics.decimals import plain

MAX_MESSAGE: Final = 1024
MINIMUM_ROWS: Final = 100
"""Least number of judged rows where the spec does not say."""
_SHOWN: Final = 100


@dataclass(frozen=True)
class Range:
    """A 95 % interval."""

    low: Decimal
    high: Decimal

    @override
    def __str__(self) -> str:
        return f"95 % interval {plain(self.low)} to {plain(self.high)}"


@dataclass(frozen=True)
class Measured:
    """Values of the new version on the judged rows; a metric that is undefined there is absent."""

    rows: int | None
    """None when a step judged rows of its own."""
    values: Mapping[str, Decimal]
    interval: Range | None = None


@dataclass(frozen=True)
class Challenged:
    """The champion's value of the deciding metric on the same rows, None when undefined."""

    version: int
    value: Decimal | None
    difference: Range | None = None
    """Interval of the new version's value less the champion's."""


@dataclass(frozen=True)
class Group:
    """Both models on the rows of one value of a slice's column; a metric that is undefined there is None."""

    column: str
    value: str
    rows: int
    candidate: Decimal | None
    champion: Decimal | None
    difference: Range | None = None
    """Interval of the new version's value less the champion's, widened since many groups are looked at."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, and why, in a sentence."""

    verdict: Verdict
    message: str


def judge(
    spec: EvaluationSpec, measured: Measured, champion: Challenged | None, groups: Sequence[Group] = ()
) -> Judgement:
    """Decide whether the new version is accepted.

    In this order: enough rows, thresholds, better than the champion by `minimumImprovement`, no group regressed.
    A group counts as regressed when it has enough rows, is worse by more than its slice allows, and the interval of its
    difference excludes zero: small groups differ by chance, and among many groups some always do.
    """
    for verdict, message in _objections(spec, measured, champion, groups):
        return Judgement(verdict, message[:MAX_MESSAGE])
    if champion is None:
        return Judgement(Verdict.FIRST_VERSION, f"{_scored(spec, measured)}; there is no champion to beat.")
    return Judgement(Verdict.BETTER_THAN_CHAMPION, f"{_compared(spec, measured, champion)}.")


def regression(goal: Goal, group: Group) -> Decimal | None:
    """Return how much worse the new version is on a group; None when one of the two has no value there."""
    if group.candidate is None or group.champion is None:
        return None
    return -_gain(goal, group.candidate, group.champion)


def is_large_enough(part: Slice, group: Group) -> bool:
    """Return whether a group of this slice has enough rows to be judged."""
    return group.rows >= part.minimum_rows


def exceeds(spec: EvaluationSpec, group: Group) -> bool:
    """Return whether the new version is worse on a group by more than its slice allows, on enough rows."""
    part = next(part for part in spec.slices if part.column == group.column)
    worse = regression(spec.goal, group)
    return worse is not None and is_large_enough(part, group) and worse > Decimal(part.maximum_regression)


def is_regressed(spec: EvaluationSpec, group: Group) -> bool:
    """Return whether a group is worse by more than its slice allows, and not by chance."""
    return exceeds(spec, group) and _excludes_zero(group.difference)


def _objections(
    spec: EvaluationSpec, measured: Measured, champion: Challenged | None, groups: Sequence[Group]
) -> Iterator[tuple[Verdict, str]]:
    minimum = spec.minimum_rows or MINIMUM_ROWS
    if measured.rows is not None and measured.rows < minimum:
        yield Verdict.TOO_FEW_ROWS, f"{measured.rows:,} judged rows are fewer than the minimum of {minimum:,}."
    if spec.metric not in measured.values:
        yield Verdict.TOO_FEW_ROWS, f"{spec.metric} is undefined{_on(measured)}: {_undefined(spec.metric)}."
    for threshold in spec.thresholds:
        yield from _threshold(threshold.metric, threshold.minimum, threshold.maximum, measured)
    if champion is None:
        return
    improvement = _improvement(spec.goal, measured.values[spec.metric], champion.value)
    required = Decimal(spec.minimum_improvement)
    # A model that is only as good is not worth a roll-out, unless the spec lets it be worse.
    if improvement is not None and (improvement < required or improvement == required == 0):
        least = f"at least {spec.minimum_improvement}" if required else "more than 0"
        yield Verdict.NOT_BETTER, f"{_compared(spec, measured, champion)}; an improvement of {least} is required."
    yield from _regressions(spec, champion, groups)


def _threshold(
    metric: str, minimum: str | None, maximum: str | None, measured: Measured
) -> Iterator[tuple[Verdict, str]]:
    value, on = measured.values.get(metric), _on(measured)
    if value is None:
        yield Verdict.BELOW_THRESHOLD, f"{metric}, which has a threshold, is undefined{on}."
    elif minimum is not None and value < Decimal(minimum):
        yield Verdict.BELOW_THRESHOLD, f"{metric} {plain(value)} is below the minimum of {minimum}{on}."
    elif maximum is not None and value > Decimal(maximum):
        yield Verdict.BELOW_THRESHOLD, f"{metric} {plain(value)} is above the maximum of {maximum}{on}."


def _regressions(spec: EvaluationSpec, champion: Challenged, groups: Sequence[Group]) -> Iterator[tuple[Verdict, str]]:
    allowed = {part.column: Decimal(part.maximum_regression) for part in spec.slices}
    regressed = [
        (worse, group)
        for group in groups
        if is_regressed(spec, group) and (worse := regression(spec.goal, group)) is not None
    ]
    if regressed:
        most, worst = max(regressed, key=lambda pair: pair[0])
        others = f" (and {len(regressed) - 1} more groups)" if len(regressed) > 1 else ""
        message = (
            f"{worst.column} '{worst.value[:_SHOWN]}'{others}: {spec.metric} {_shown(worst.candidate)} is "
            f"{plain(most)} worse than version {champion.version} ({_shown(worst.champion)}) "
            f"on {worst.rows:,} rows, more than the {plain(allowed[worst.column])} allowed."
        )
        yield Verdict.SLICE_REGRESSED, message


def _excludes_zero(interval: Range | None) -> bool:
    return interval is not None and not interval.low <= 0 <= interval.high


def _gain(goal: Goal, candidate: Decimal, champion: Decimal) -> Decimal:
    return candidate - champion if goal is Goal.MAXIMIZE else champion - candidate


def _improvement(goal: Goal, candidate: Decimal, champion: Decimal | None) -> Decimal | None:
    return None if champion is None else _gain(goal, candidate, champion)


def _scored(spec: EvaluationSpec, measured: Measured) -> str:
    interval = f" ({measured.interval})" if measured.interval else ""
    return f"{spec.metric} {plain(measured.values[spec.metric])}{interval}{_on(measured)}"


def _compared(spec: EvaluationSpec, measured: Measured, champion: Challenged) -> str:
    value = measured.values[spec.metric]
    improvement = _improvement(spec.goal, value, champion.value)
    if improvement is None or champion.value is None:
        return f"{_scored(spec, measured)}; version {champion.version} has no value there"
    said = f"{plain(abs(improvement))} {'better' if improvement > 0 else 'worse'} than" if improvement else "equal to"
    interval = f"; difference {champion.difference}" if champion.difference else ""
    return (
        f"{spec.metric} {plain(value)} is {said} version {champion.version} ({plain(champion.value)})"
        f"{_on(measured, 'the same ')}{interval}"
    )


def _on(measured: Measured, which: str = "") -> str:
    return "" if measured.rows is None else f" on {which}{measured.rows:,} rows"


def _undefined(metric: str) -> str:
    if metric == Metric.MEAN_ABSOLUTE_PERCENTAGE_ERROR:
        return "a label is 0, or there are none"
    return "they hold too few different labels"


def _shown(value: Decimal | None) -> str:
    return "undefined" if value is None else plain(value)
