"""From a judgement and its evidence to what a ModelVersion records, within the bounds of a termination message."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.common import NamedDecimal
from modelyard.api.v1alpha1.modelversion import (
    ChampionScore,
    Difference,
    Evaluation,
    FeatureImportance,
    SliceScore,
)
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Goal
from modelyard.report.evidence import Evidence, JudgedGroup
from modelyard.statistics.decimals import plain, to_decimal
from modelyard.statistics.verdict import Judgement, Range, regression
from modelyard.storage.results import to_json

MAX_BYTES: Final = 3_400
"""Of the evaluation as JSON: a termination message has 4096 bytes, and holds two digests beside it."""
_MAX_METRICS: Final = 16
_MAX_IMPORTANCE: Final = 16
_MAX_GROUP: Final = 100


def recorded(
    spec: EvaluationSpec, judgement: Judgement, evidence: Evidence, champion: tuple[int, str] | None
) -> Evaluation:
    """Return the evaluation, without the number and digest of the rows.

    Args:
        spec: how it was judged.
        judgement: the outcome.
        evidence: the numbers.
        champion: version and digest of the champion that was judged on the same rows.
    """
    deciding = next(scored for scored in evidence.scores if scored.metric == spec.metric)
    return Evaluation(
        metric=spec.metric,
        goal=spec.goal,
        value=_text(deciding.value),
        low=_text(deciding.interval.low) if deciding.interval else None,
        high=_text(deciding.interval.high) if deciding.interval else None,
        champion=champion_score(champion, deciding.value, deciding.champion, deciding.difference_interval),
        verdict=judgement.verdict,
        message=judgement.message,
        metrics=tuple(
            NamedDecimal(name=scored.metric, value=plain(scored.value))
            for scored in evidence.scores
            if scored.metric != spec.metric and scored.value is not None
        )[:_MAX_METRICS],
        slices=tuple(_slices(spec, evidence.groups)),
        importance=tuple(_importance(evidence))[:_MAX_IMPORTANCE],
    )


def fitted(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation without the least important features, then slices, then metrics, that do not fit.

    The report has all of them. What was decided and why always fits.
    """
    for name in ("importance", "slices", "metrics"):
        while _size(evaluation) > MAX_BYTES and getattr(evaluation, name):
            evaluation = evaluation.model_copy(update={name: getattr(evaluation, name)[:-1]})
    return evaluation


def _size(evaluation: Evaluation) -> int:
    return len(to_json(as_json(evaluation)))


def champion_score(
    champion: tuple[int, str] | None, value: Decimal | None, rival: Decimal | None, interval: Range | None = None
) -> ChampionScore | None:
    """Return what is recorded of the version to beat, None when there is none or it has no value.

    Args:
        champion: its version and digest.
        value: the new model's.
        rival: the champion's.
        interval: of the difference.
    """
    if champion is None or rival is None:
        return None
    version, digest = champion
    return ChampionScore(
        version=version, digest=digest, value=plain(rival), difference=_difference(value, rival, interval)
    )


def _difference(value: Decimal | None, champion: Decimal | None, interval: Range | None) -> Difference | None:
    if value is None or champion is None:
        return None
    ends = {"low": plain(interval.low), "high": plain(interval.high)} if interval else {}
    return Difference(value=plain(value - champion), **ends)


def _slices(spec: EvaluationSpec, judged: tuple[JudgedGroup, ...]) -> Iterator[SliceScore]:
    for part in spec.slices:
        groups = [found for found in judged if found.group.column == part.column]
        comparable = [found for found in groups if found.is_large_enough and found.group.candidate is not None]
        if not comparable:
            continue
        worst = max(comparable, key=lambda found: _badness(spec.goal, found)).group
        yield SliceScore(
            column=part.column,
            group=worst.value[:_MAX_GROUP],
            groups=len(comparable),
            skipped=len(groups) - len(comparable),
            rows=worst.rows,
            value=plain(worst.candidate or Decimal(0)),
            champion=_text(worst.champion),
            difference=_difference(worst.candidate, worst.champion, worst.difference),
        )


def _badness(goal: Goal, found: JudgedGroup) -> tuple[bool, Decimal]:
    """Order groups by how much worse they are than with the champion, and where there is none by their value."""
    worse = regression(goal, found.group)
    value = found.group.candidate or Decimal(0)
    return (worse is not None, worse if worse is not None else (-value if goal is Goal.MAXIMIZE else value))


def _importance(evidence: Evidence) -> Iterator[FeatureImportance]:
    for drop in evidence.importance.drops if evidence.importance else ():
        value = to_decimal(drop.mean)
        if value is not None:
            yield FeatureImportance(feature=drop.feature, value=plain(value))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
