"""From model directories and rows to the evaluation that a ModelVersion records, and the evidence for it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from modelyard.api.v1alpha1.modelversion import Evaluation
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Metric, Slice
from modelyard.conversion.errors import ColumnError, ConversionError
from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.truth import pair
from modelyard.model import InvalidModel, ModelDirectory, Signature, Task, load_model_directory
from modelyard.report.evidence import Evidence, JudgedGroup
from modelyard.statistics.bootstrap import bootstrap
from modelyard.statistics.comparison import Scored, compare, to_range
from modelyard.statistics.decimals import to_decimal
from modelyard.statistics.importance import Importance, permutation_importance, sample_size
from modelyard.statistics.metrics import (
    CLASSIFICATION,
    REGRESSION,
    Classified,
    Predicted,
    metrics_of,
    score,
)
from modelyard.statistics.ranking import Integers
from modelyard.statistics.verdict import (
    Challenged,
    Group,
    Measured,
    exceeds,
    is_large_enough,
    is_regressed,
    judge,
    regression,
)
from modelyard.steps.evaluation.dataset import JudgedRows, digest_of, locate
from modelyard.steps.evaluation.errors import ChampionUnusable, DatasetInvalid
from modelyard.steps.evaluation.record import recorded

MAX_GROUPS: Final = 200
MAX_CLASSES_WITH_INTERVALS: Final = 20
"""Beyond, only the deciding metric gets an interval: each class is ranked again in each resample."""
_SEED: Final = 0


@dataclass(frozen=True)
class Champion:
    """The version to beat."""

    version: int
    digest: str
    folder: Path


@dataclass(frozen=True)
class Judged:
    """What is recorded, and why."""

    evaluation: Evaluation
    evidence: Evidence


def evaluate(
    candidate: ModelDirectory, model: OnnxModel, output: Path, spec: EvaluationSpec, champion: Champion | None
) -> Judged:
    """Judge a model on the rows that the spec names.

    Args:
        candidate: the new model's directory.
        model: the same model, loaded.
        output: the output that `spec.dataset` names.
        spec: how to judge.
        champion: the version to beat, None when there is none.

    Raises:
        InvalidModel: the model cannot be judged by this metric, or cannot be run.
        DatasetInvalid: the rows cannot be used.
        ChampionUnusable: the champion cannot score the same rows.
    """
    signature = candidate.signature
    _require_metrics(signature, spec)
    beaten = _load(champion, signature) if champion else None
    rows_path = locate(output, spec.dataset or "")
    columns = {tensor.name for loaded in (model, beaten) if loaded for tensor in loaded.signature.inputs}
    label = signature.label or ""
    rows = JudgedRows(rows_path, label, (*sorted(columns), *(part.column for part in spec.slices)))
    predicted = _predict(model, rows)
    rival = _predict_champion(champion, beaten, rows) if champion and beaten else None
    scores = _scores(spec, predicted, rival)
    deciding = next(scored for scored in scores if scored.metric == spec.metric)
    groups = _groups(spec, rows, predicted, rival)
    measured = Measured(
        len(rows),
        {scored.metric.value: scored.value for scored in scores if scored.value is not None},
        deciding.interval,
    )
    challenged = (
        Challenged(champion.version, deciding.champion, deciding.difference_interval) if champion and rival else None
    )
    judgement = judge(spec, measured, challenged, groups)
    evidence = Evidence(
        label=label,
        classes=_classes(signature),
        model=predicted,
        champion=rival,
        scores=scores,
        groups=_judged_groups(spec, groups),
        importance=_importance(spec, model, rows),
    )
    known = (champion.version, champion.digest) if champion else None
    evaluation = recorded(spec, judgement, evidence, known).model_copy(
        update={"rows": len(rows), "dataset_digest": digest_of(rows_path)}
    )
    return Judged(evaluation, evidence)


def _require_metrics(signature: Signature, spec: EvaluationSpec) -> None:
    if signature.label is None:
        raise InvalidModel("modelyard.json: label must name the column of the judged rows that holds the truth")
    if signature.task is Task.OTHER:
        raise InvalidModel("modelyard.json: task must not be 'Other' for a model that is judged; leave out evaluation")
    allowed = REGRESSION if signature.task is Task.REGRESSION else CLASSIFICATION
    for field, metric in (("metric", spec.metric), *(("thresholds", part.metric) for part in spec.thresholds)):
        if metric not in allowed:
            raise InvalidModel(
                f"evaluation.{field}: '{metric}' is not defined for a model of task {signature.task}, "
                f"must be one of {', '.join(allowed)}"
            )


def _load(champion: Champion, signature: Signature) -> OnnxModel:
    named = f"version {champion.version}, the champion,"
    try:
        directory = load_model_directory(champion.folder)
        loaded = OnnxModel(directory.model_file, directory.signature)
    except (InvalidModel, ConversionError, OSError) as error:
        raise ChampionUnusable(f"{named} cannot be loaded: {error}; retire it to go on without it") from None
    if (loaded.signature.task, _classes(loaded.signature)) != (signature.task, _classes(signature)):
        raise ChampionUnusable(f"{named} has another task or other classes than the new model; retire it")
    return loaded


def _predict(model: OnnxModel, rows: JudgedRows) -> Predicted:
    try:
        return pair(model.signature, rows.predict(model), rows.truth)
    except ColumnError as error:
        raise DatasetInvalid(f"the judged rows do not fit the model: {error}") from None
    except ConversionError as error:
        raise InvalidModel(str(error)) from None


def _predict_champion(champion: Champion, model: OnnxModel, rows: JudgedRows) -> Predicted:
    try:
        return pair(model.signature, rows.predict(model), rows.truth)
    except (ColumnError, ConversionError) as error:
        raise ChampionUnusable(
            f"version {champion.version}, the champion, cannot score the judged rows: {error}; "
            "keep the columns that it needs in evaluation.dataset, or retire it to go on without it"
        ) from None


def _scores(spec: EvaluationSpec, model: Predicted, champion: Predicted | None) -> tuple[Scored, ...]:
    classes = model.probabilities.shape[1] if isinstance(model, Classified) else 0
    return tuple(
        compare(
            metric,
            model,
            champion,
            seed=_SEED,
            with_intervals=metric == spec.metric or classes <= MAX_CLASSES_WITH_INTERVALS,
        )
        for metric in metrics_of(model)
    )


def _groups(
    spec: EvaluationSpec, rows: JudgedRows, candidate: Predicted, champion: Predicted | None
) -> tuple[Group, ...]:
    """Score both models on every group of every slice; only groups that may matter get an interval."""
    metric = Metric(spec.metric)
    found = [
        (group, chosen) for part in spec.slices for group, chosen in _scored(part, metric, rows, candidate, champion)
    ]
    worst = {_worst(spec, part, [group for group, _ in found]) for part in spec.slices}

    def with_interval(group: Group, chosen: Integers) -> Group:
        if champion is None or not (group in worst or exceeds(spec, group)):
            return group
        pair_of_models = [candidate.take(chosen), champion.take(chosen)]
        resampled = bootstrap(metric, pair_of_models, seed=_SEED)
        return replace(group, difference=to_range(resampled.difference(0, 1, comparisons=len(found))))

    return tuple(with_interval(group, chosen) for group, chosen in found)


def _worst(spec: EvaluationSpec, part: Slice, groups: list[Group]) -> Group | None:
    regressed = [
        (worse, group)
        for group in groups
        if group.column == part.column
        and is_large_enough(part, group)
        and (worse := regression(spec.goal, group)) is not None
    ]
    return max(regressed, key=lambda pair: pair[0])[1] if regressed else None


def _scored(
    part: Slice, metric: Metric, rows: JudgedRows, candidate: Predicted, champion: Predicted | None
) -> Iterator[tuple[Group, Integers]]:
    names, positions = np.unique(rows.texts(part.column).astype(str), return_inverse=True)
    if len(names) > MAX_GROUPS:
        raise DatasetInvalid(
            f"evaluation.slices: column '{part.column}' has {len(names)} values, must have at most {MAX_GROUPS}"
        )
    order = np.argsort(positions, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(positions, minlength=len(names)))
    for name, chosen in zip(names, np.split(order, ends[:-1]), strict=True):
        value = to_decimal(score(metric, candidate.take(chosen)))
        rival = to_decimal(score(metric, champion.take(chosen))) if champion else None
        yield Group(part.column, str(name), len(chosen), value, rival), chosen


def _judged_groups(spec: EvaluationSpec, groups: tuple[Group, ...]) -> tuple[JudgedGroup, ...]:
    parts = {part.column: part for part in spec.slices}
    return tuple(
        JudgedGroup(group, is_large_enough(parts[group.column], group), is_regressed(spec, group)) for group in groups
    )


def _importance(spec: EvaluationSpec, model: OnnxModel, rows: JudgedRows) -> Importance | None:
    """Shuffle the features of a sample of the rows, one after another."""
    features = [tensor.name for tensor in model.signature.inputs]
    size = sample_size(len(rows), len(features))
    if size is None:
        return None
    chosen = np.sort(np.random.default_rng(_SEED).choice(len(rows), size, replace=False)).astype(np.int64)
    sample, truth = rows.sample(chosen)
    metric = Metric(spec.metric)

    def score_shuffled(feature: str | None, positions: Integers) -> float:
        columns = sample if feature is None else sample.assign(**{feature: sample[feature].take(positions).array})
        return score(metric, pair(model.signature, model.predict(columns), truth))

    return permutation_importance(features, size, spec.goal, score_shuffled, seed=_SEED)


def _classes(signature: Signature) -> tuple[str, ...]:
    declared = signature.output("probabilities")
    return (declared.classes if declared else None) or ()
