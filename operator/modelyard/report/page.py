"""The page: one HTML file without scripts, fonts or pictures from elsewhere. Equal judgements give equal bytes."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from modelyard.api.v1alpha1.modelversion import ACCEPTING, Evaluation, ModelVersionSpec
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Judge
from modelyard.report.charts import number
from modelyard.report.evidence import Evidence, JudgedGroup
from modelyard.report.figures import Names, figures, importance_figure
from modelyard.report.markup import Column, Row, facts, paragraph, section, table, text
from modelyard.report.style import STYLE
from modelyard.statistics.comparison import Scored
from modelyard.statistics.importance import REPEATS
from modelyard.statistics.verdict import MINIMUM_ROWS, Range, regression

_MAX_GROUPS: Final = 50
_ABSENT: Final = "—"
_STYLE_HASH: Final = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Subject:
    """What the page speaks of."""

    record: ModelVersionSpec
    asked: EvaluationSpec
    evaluation: Evaluation
    evidence: Evidence | None = None
    """None when the numbers are a step's."""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> Names:
        """Short names of the two models."""
        rival = self.evaluation.champion
        return Names(f"v{self.record.version}", f"v{rival.version}" if rival else "champion")


def render(subject: Subject) -> str:
    """Return the page."""
    title = f"{subject.record.model} version {subject.record.version}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}: evaluation</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{text(title)}</h1>{''.join(_parts(subject))}</main>"
        "<footer>Written by Modelyard when the version was judged. "
        "Intervals are paired percentile bootstraps of 95 %.</footer></body></html>\n"
    )


def _parts(subject: Subject) -> Iterator[str]:
    evidence = subject.evidence
    yield _verdict(subject.evaluation)
    yield section("Metrics", _metrics(subject))
    if subject.asked.slices and evidence:
        yield section("Slices", *_slices(subject, evidence.groups))
    if evidence:
        drawn = "".join(figures(evidence, subject.names))
        yield section("Predictions", f'<div class="figures">{drawn}</div>')
        yield section("Features", _importance(evidence, subject.asked.metric))
    yield section("How it was judged", facts(_judging(subject)))
    yield section("What it was made from", facts(_making(subject.record)), *_lineage(subject))


def _verdict(evaluation: Evaluation) -> str:
    accepted = evaluation.verdict in ACCEPTING
    word, kind = ("Accepted", "accepted") if accepted else ("Not accepted", "refused")
    return (
        f'<div class="verdict {kind}"><p><strong>{word}</strong>: {text(evaluation.verdict)}</p>'
        f"{paragraph(evaluation.message)}</div>"
    )


def _metrics(subject: Subject) -> str:
    names, metric = subject.names, subject.asked.metric
    if subject.evidence is None:
        return _reported_metrics(subject)
    scores = subject.evidence.scores
    if subject.evaluation.champion is None:
        rows = [
            Row((found.metric, _value(found.value), _range(found.interval)), found.metric == metric) for found in scores
        ]
        return table("All rows", _columns("Metric", names.model, "95 % interval"), rows)
    columns = _columns(
        "Metric", names.model, "95 % interval", f"champion {names.champion}", "difference", "95 % interval of it"
    )
    rows = [_compared(found, is_deciding=found.metric == metric) for found in scores]
    return table("Both on the same rows", columns, rows)


def _columns(first: str, *numbers: str) -> list[Column]:
    return [Column(first), *(Column(title, is_number=True) for title in numbers)]


def _compared(found: Scored, *, is_deciding: bool) -> Row:
    cells = (
        found.metric,
        _value(found.value),
        _range(found.interval),
        _value(found.champion),
        _signed(found.difference),
        _range(found.difference_interval),
    )
    return Row(cells, is_deciding)


def _reported_metrics(subject: Subject) -> str:
    evaluation, names = subject.evaluation, subject.names
    rival = evaluation.champion
    deciding = Row((evaluation.metric, evaluation.value or _ABSENT, rival.value if rival else _ABSENT), True)  # noqa: FBT003
    others = [Row((metric.name, metric.value, _ABSENT)) for metric in evaluation.metrics]
    columns = _columns("Metric", names.model, f"champion {rival.version}" if rival else "champion")
    return table("As a step reported them", columns, [deciding, *others])


def _slices(subject: Subject, groups: tuple[JudgedGroup, ...]) -> Iterator[str]:
    names, metric = subject.names, subject.asked.metric
    numbers = ("rows", names.model, f"champion {names.champion}", "difference", "95 % interval of it")
    for part in subject.asked.slices:
        found = [judged for judged in groups if judged.group.column == part.column]
        ordered = sorted(found, key=lambda judged: _urgency(subject.asked, judged), reverse=True)
        columns = [*_columns(part.column, *numbers), Column("judged")]
        yield table(f"{metric} by {part.column}", columns, (_group(judged) for judged in ordered[:_MAX_GROUPS]))
        yield paragraph(
            f"A group may be worse than the champion by {part.maximum_regression}. Groups of fewer than "
            f"{part.minimum_rows} rows are not judged, and none fails by chance: intervals allow for their number."
        )
        if len(found) > _MAX_GROUPS:
            yield paragraph(f"{len(found) - _MAX_GROUPS} further groups are not shown.")


def _urgency(asked: EvaluationSpec, judged: JudgedGroup) -> tuple[bool, bool, Decimal, int]:
    worse = regression(asked.goal, judged.group)
    return (judged.is_regressed, judged.is_large_enough, worse or Decimal(0), judged.group.rows)


def _group(judged: JudgedGroup) -> Row:
    group = judged.group
    difference = None if group.candidate is None or group.champion is None else group.candidate - group.champion
    outcome = "regressed" if judged.is_regressed else "ok" if judged.is_large_enough else "too few rows"
    cells = (
        group.value or "(empty)",
        f"{group.rows:,}",
        _value(group.candidate),
        _value(group.champion),
        _signed(difference),
        _range(group.difference),
        outcome,
    )
    return Row(cells, judged.is_regressed)


def _importance(evidence: Evidence, metric: str) -> str:
    if evidence.importance is None:
        return paragraph("Feature importance was not measured: there are too many features for these rows.")
    note = paragraph(
        f"Measured on {evidence.importance.rows:,} rows, sampled with a fixed seed; each feature was shuffled "
        f"{REPEATS} times."
    )
    return f'<div class="figures">{importance_figure(evidence.importance, metric)}</div>{note}'


def _judging(subject: Subject) -> Iterator[tuple[str, str]]:
    asked, evaluation = subject.asked, subject.evaluation
    yield "By", "Modelyard, which scored the stored model" if asked.by is Judge.MODELYARD else "numbers of a step"
    yield "Metric", f"{asked.metric}, {asked.goal}"
    yield "Required improvement", asked.minimum_improvement if Decimal(asked.minimum_improvement) else "any"
    if evaluation.rows is not None:
        yield "Rows", f"{evaluation.rows:,} (at least {asked.minimum_rows or MINIMUM_ROWS:,})"
    if subject.evidence:
        yield "Label", subject.evidence.label
    if asked.dataset:
        yield "Data set", asked.dataset
    if evaluation.dataset_digest:
        yield "Digest of the judged rows", evaluation.dataset_digest
    for part in asked.thresholds:
        least = [f"at least {part.minimum}"] if part.minimum is not None else []
        most = [f"at most {part.maximum}"] if part.maximum is not None else []
        yield f"Threshold of {part.metric}", ", ".join(least + most)
    if evaluation.champion:
        yield "Champion", f"version {evaluation.champion.version}, {evaluation.champion.digest}"


def _making(record: ModelVersionSpec) -> Iterator[tuple[str, str]]:
    lineage = record.lineage
    yield "Digest of the model", record.artifact.digest
    yield "Size", f"{record.artifact.bytes:,} bytes"
    if lineage is None:
        return
    run = lineage.training_run
    yield "Run", f"{run.namespace}/{run.name} ({run.uid})"
    if run.start_time:
        yield "Started", run.start_time
    if record.card.requested_by:
        yield "Asked for by", record.card.requested_by
    yield "Seed", str(lineage.seed)
    yield "Digest of the parameters", lineage.parameters_digest


def _lineage(subject: Subject) -> Iterator[str]:
    lineage = subject.record.lineage
    if lineage and lineage.inputs:
        inputs = (Row((item.name, item.uri, item.digest, item.version or _ABSENT)) for item in lineage.inputs)
        yield table("Data and code", [Column(title) for title in ("Input", "URI", "Digest", "Version")], inputs)
    if lineage and lineage.code:
        steps = (Row((code.step, code.image)) for code in lineage.code)
        yield table("Steps", [Column("Step"), Column("Image")], steps)
    if subject.parameters:
        parameters = (Row(pair) for pair in subject.parameters.items())
        yield table("Parameters", [Column("Parameter"), Column("Value")], parameters)


def _value(value: Decimal | None) -> str:
    return _ABSENT if value is None else number(float(value))


def _signed(value: Decimal | None) -> str:
    return _ABSENT if value is None else f"{'+' if value > 0 else ''}{number(float(value))}"


def _range(interval: Range | None) -> str:
    return f"{number(float(interval.low))} to {number(float(interval.high))}" if interval else _ABSENT
