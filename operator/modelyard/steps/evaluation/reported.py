"""Judging a model by the numbers that a step of its run has reported."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from modelyard.api.v1alpha1.common import NamedDecimal
from modelyard.api.v1alpha1.modelversion import Evaluation
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Judge
from modelyard.statistics.decimals import plain, to_decimal
from modelyard.statistics.verdict import Challenged, Measured, judge
from modelyard.steps.evaluation.errors import MetricMissing
from modelyard.steps.evaluation.record import champion_score

CHAMPION_PREFIX: Final = "champion."
_MAX_METRICS: Final = 15


def evaluate_reported(
    spec: EvaluationSpec, reported: Mapping[str, str], champion: tuple[int, str] | None
) -> Evaluation:
    """Judge a model by what was reported; without the digest of the rows.

    Args:
        spec: how to judge.
        reported: values by name; the champion's have `champion.` before the name.
        champion: version and digest of the version to beat, None when there is none.

    Raises:
        MetricMissing: a number that the spec asks for was not reported.
    """
    values = {name: value for name, text in reported.items() if (value := to_decimal(float(text))) is not None}
    own = {name: value for name, value in values.items() if not name.startswith(CHAMPION_PREFIX)}
    for field, name in (("metric", spec.metric), *(("thresholds", part.metric) for part in spec.thresholds)):
        if name not in own:
            raise MetricMissing(f"evaluation.{field}: no step reported the metric '{name}'; {_known(own)}")
    rival = _rival(spec, values, champion)
    challenged = Challenged(champion[0], rival) if champion else None
    judgement = judge(spec, Measured(None, own), challenged)
    return Evaluation(
        by=Judge.STEP,
        metric=spec.metric,
        goal=spec.goal,
        value=plain(own[spec.metric]),
        champion=champion_score(champion, own[spec.metric], rival),
        verdict=judgement.verdict,
        message=judgement.message,
        metrics=tuple(
            NamedDecimal(name=name, value=plain(value)) for name, value in own.items() if name != spec.metric
        )[:_MAX_METRICS],
    )


def _rival(spec: EvaluationSpec, values: Mapping[str, Decimal], champion: tuple[int, str] | None) -> Decimal | None:
    if champion is None:
        return None
    name = CHAMPION_PREFIX + spec.metric
    if name not in values:
        raise MetricMissing(
            f"evaluation.metric: no step reported '{name}'; version {champion[0]} is the champion, so a step must take "
            "the input 'champion' and score that model on the same rows"
        )
    return values[name]


def _known(own: Mapping[str, Decimal]) -> str:
    return f"reported were {', '.join(sorted(own))}" if own else "none was reported"
