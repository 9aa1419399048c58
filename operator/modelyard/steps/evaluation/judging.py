"""From model directories and rows to the evaluation that a ModelVersion records."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from modelyard.api.v1alpha1.common import NamedDecimal
from modelyard.api.v1alpha1.modelversion import ChampionScore, Evaluation
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Slice
from modelyard.conversion.errors import ColumnError, ConversionError
from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.truth import pair
from modelyard.model import InvalidModel, ModelDirectory, Signature, Task, load_model_directory
from modelyard.statistics.bootstrap import Interval, bootstrap
from modelyard.statistics.decimals import plain, to_decimal
from modelyard.statistics.metrics import CLASSIFICATION, REGRESSION, Integers, Predicted, metrics_of, score
from modelyard.statistics.verdict import Challenged, Group, Measured, Range, exceeds, judge
from modelyard.steps.evaluation.dataset import JudgedRows, digest_of, locate
from modelyard.steps.evaluation.errors import ChampionUnusable, DatasetInvalid

MAX_GROUPS: Final = 200
_SEED: Final = 0
_MAX_METRICS: Final = 16


@dataclass(frozen=True)
class Champion:
    """The version to beat."""

    version: int
    digest: str
    folder: Path


def evaluate(
    candidate: ModelDirectory, model: OnnxModel, output: Path, spec: EvaluationSpec, champion: Champion | None
) -> Evaluation:
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
    rows_path = locate(output, spec.dataset)
    columns = {tensor.name for loaded in (model, beaten) if loaded for tensor in loaded.signature.inputs}
    rows = JudgedRows(rows_path, signature.label or "", (*sorted(columns), *(part.column for part in spec.slices)))
    predicted = _predict(model, rows)
    rival = _predict_champion(champion, beaten, rows) if champion and beaten else None
    values = {
        metric: value for metric in metrics_of(predicted) if (value := to_decimal(score(metric, predicted))) is not None
    }
    resampled = bootstrap(spec.metric, [predicted, rival] if rival else [predicted], seed=_SEED)
    interval = _range(resampled.interval())
    measured = Measured(len(rows), values, interval)
    challenged: Challenged | None = None
    groups: tuple[Group, ...] = ()
    if champion and rival:
        value = to_decimal(score(spec.metric, rival))
        challenged = Challenged(champion.version, value, _range(resampled.difference(0, 1)))
        groups = _groups(spec, rows, predicted, rival)
    judgement = judge(spec, measured, challenged, groups)
    decided = values.get(spec.metric)
    return Evaluation(
        metric=spec.metric,
        value=None if decided is None else plain(decided),
        low=plain(interval.low) if interval else None,
        high=plain(interval.high) if interval else None,
        rows=len(rows),
        dataset_digest=digest_of(rows_path),
        champion=_champion_score(champion, challenged),
        verdict=judgement.verdict,
        message=judgement.message,
        metrics=tuple(
            NamedDecimal(name=metric, value=plain(other))
            for metric, other in values.items()
            if metric is not spec.metric
        )[:_MAX_METRICS],
    )


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


def _groups(spec: EvaluationSpec, rows: JudgedRows, candidate: Predicted, champion: Predicted) -> tuple[Group, ...]:
    """Score both models on every group of every slice; only a group that is too much worse needs an interval."""
    found = [
        (group, chosen) for part in spec.slices for group, chosen in _scored(part, spec, rows, candidate, champion)
    ]

    def difference(chosen: Integers) -> Range | None:
        pair_of_models = [candidate.take(chosen), champion.take(chosen)]
        return _range(bootstrap(spec.metric, pair_of_models, seed=_SEED).difference(0, 1, comparisons=len(found)))

    return tuple(
        replace(group, difference=difference(chosen)) if exceeds(spec, group) else group for group, chosen in found
    )


def _scored(
    part: Slice, spec: EvaluationSpec, rows: JudgedRows, candidate: Predicted, champion: Predicted
) -> Iterator[tuple[Group, Integers]]:
    names, positions = np.unique(rows.texts(part.column).astype(str), return_inverse=True)
    if len(names) > MAX_GROUPS:
        raise DatasetInvalid(
            f"evaluation.slices: column '{part.column}' has {len(names)} values, must have at most {MAX_GROUPS}"
        )
    order = np.argsort(positions, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(positions, minlength=len(names)))
    for name, chosen in zip(names, np.split(order, ends[:-1]), strict=True):
        value = to_decimal(score(spec.metric, candidate.take(chosen)))
        rival = to_decimal(score(spec.metric, champion.take(chosen)))
        if value is not None and rival is not None:
            yield Group(part.column, str(name), len(chosen), value, rival), chosen


def _champion_score(champion: Champion | None, challenged: Challenged | None) -> ChampionScore | None:
    if champion is None or challenged is None or challenged.value is None:
        return None
    return ChampionScore(version=champion.version, digest=champion.digest, value=plain(challenged.value))


def _range(interval: Interval | None) -> Range | None:
    low, high = (to_decimal(interval.low), to_decimal(interval.high)) if interval else (None, None)
    return None if low is None or high is None else Range(low, high)


def _classes(signature: Signature) -> tuple[str, ...]:
    declared = signature.output("probabilities")
    return (declared.classes if declared else None) or ()
