"""The figures of each kind of model: a chart, what it shows, and its numbers as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelyard.report.charts import (
    CHAMPION,
    MODEL,
    OTHER,
    Axis,
    Bar,
    Line,
    bar_chart,
    histogram_chart,
    line_chart,
    number,
    scatter_chart,
)
from modelyard.report.evidence import Evidence
from modelyard.report.markup import Column, Row, table, text
from modelyard.statistics.curves import (
    Curve,
    Histogram,
    calibration,
    confusion,
    precision_recall_curve,
    residual_histogram,
    roc_curve,
    score_histogram,
)
from modelyard.statistics.importance import Importance
from modelyard.statistics.metrics import Classified, Estimated, Predicted, is_binary
from modelyard.statistics.ranking import Integers

_CURVE_POINTS: Final = 200
_TABLE_POINTS: Final = 12
_DOTS: Final = 400
_DECILES: Final = 10
_MAX_MATRIX: Final = 12
_MAX_CONFUSIONS: Final = 20
_MAX_BARS: Final = 16
_SEED: Final = 0
_DIAGONAL: Final = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))


@dataclass(frozen=True)
class Names:
    """What the two models are called."""

    model: str
    champion: str


def figures(evidence: Evidence, names: Names) -> Iterator[str]:
    """Yield the figures of the predictions, as markup."""
    match evidence.model:
        case Classified() as model if is_binary(model):
            yield from _binary(evidence, model, names)
        case Classified() as model:
            yield from _calibration(evidence, names)
            yield _confusion(model, evidence.classes)
        case Estimated() as model:
            yield from _regression(evidence, model, names)


def importance_figure(importance: Importance, metric: str) -> str:
    """Return the figure of the most important features."""
    shown = importance.drops[:_MAX_BARS]
    bars = [Bar(drop.feature, drop.mean, drop.deviation) for drop in shown]
    title = "Feature importance"
    description = (
        f"How much worse {metric} becomes when a feature's values are shuffled among {importance.rows:,} sampled rows. "
        f"The most important is {shown[0].feature}."
    )
    chart = bar_chart(title, description, f"{metric} lost", bars)
    rows = [Row((drop.feature, number(drop.mean), number(drop.deviation))) for drop in importance.drops]
    columns = (Column("Feature"), Column(f"{metric} lost", is_number=True), Column("± over repeats", is_number=True))
    return _figure(title, chart, description, table("All features", columns, rows))


def _binary(evidence: Evidence, model: Classified, names: Names) -> Iterator[str]:
    both = _both(evidence, names)
    positive = evidence.classes[1]
    roc = [(name, track, roc_curve(found.truth == 1, found.probabilities[:, 1])) for name, track, found in both]
    yield from _curves(
        "ROC curve",
        f"Share of the rows of class {positive} that are found, against the share of the others that are taken for it, "
        "at each threshold. The dotted diagonal is guessing.",
        ("false positive rate", "true positive rate"),
        roc,
        ideal=Line("", "ideal", _DIAGONAL),
    )
    recalls = [
        (name, track, precision_recall_curve(found.truth == 1, found.probabilities[:, 1]))
        for name, track, found in both
    ]
    share = float((model.truth == 1).mean())
    yield from _curves(
        "Precision and recall",
        f"How many of the rows that are called {positive} are, against how many of them are found, at each threshold. "
        "The dotted line is guessing.",
        ("recall", "precision"),
        recalls,
        ideal=Line("", "ideal", Curve(np.array([0.0, 1.0]), np.array([share, share]))),
    )
    yield from _calibration(evidence, names)
    names_of_classes = (f"is {evidence.classes[0]}", f"is {positive}")
    yield _histogram(
        "Scores",
        f"Probability of class {positive} that the model gives to the rows of each class.",
        f"probability of {positive}",
        score_histogram(model, names_of_classes),
        (OTHER, MODEL),
    )
    yield _confusion(model, evidence.classes)


def _regression(evidence: Evidence, model: Estimated, names: Names) -> Iterator[str]:
    chosen = _chosen(model.rows)
    truth, value = model.truth[chosen], model.value[chosen]
    actual, estimated = Axis.around("actual", model.truth), Axis.around("predicted", model.value)
    low, high = max(actual.low, estimated.low), min(actual.high, estimated.high)
    sampled = f"{len(chosen):,} of {model.rows:,} rows" if len(chosen) < model.rows else f"all {model.rows:,} rows"
    title, description = "Predicted and actual", f"One dot a row ({sampled}). On the dotted line both are equal."
    chart = scatter_chart(
        title,
        description,
        actual,
        estimated,
        Curve(truth, value),
        ideal=Curve(np.array([low, high]), np.array([low, high])),
    )
    yield _figure(title, chart, description, _deciles(model))
    error = value - truth
    title, description = "Residuals", f"Predicted less actual, against what was predicted ({sampled})."
    chart = scatter_chart(
        title,
        description,
        estimated,
        Axis.around("residual", model.value - model.truth),
        Curve(value, error),
        ideal=Curve(np.array([estimated.low, estimated.high]), np.zeros(2)),
    )
    yield _figure(title, chart, description, _deciles(model))
    yield _histogram(
        "Distribution of residuals",
        "How far the model is from the truth: predicted less actual.",
        "residual",
        residual_histogram(model, names.model),
        (MODEL,),
    )


def _both(evidence: Evidence, names: Names) -> list[tuple[str, str, Classified]]:
    found: list[tuple[str, str, Predicted | None]] = [
        (names.model, MODEL, evidence.model),
        (names.champion, CHAMPION, evidence.champion),
    ]
    return [(name, track, model) for name, track, model in found if isinstance(model, Classified)]


def _curves(
    title: str,
    description: str,
    axes: tuple[str, str],
    found: Sequence[tuple[str, str, Curve | None]],
    *,
    ideal: Line,
) -> Iterator[str]:
    curves = [(name, track, curve) for name, track, curve in found if curve is not None]
    if not curves:
        return
    lines = [Line(name, track, curve.thinned(_CURVE_POINTS)) for name, track, curve in curves]
    chart = line_chart(title, description, Axis(axes[0]), Axis(axes[1]), lines, ideal=ideal)
    rows = [
        Row((name, number(float(x)), number(float(y))))
        for name, _, curve in curves
        for thinned in (curve.thinned(_TABLE_POINTS),)
        for x, y in zip(thinned.x, thinned.y, strict=True)
    ]
    columns = (Column("Version"), *(Column(axis, is_number=True) for axis in axes))
    yield _figure(title, chart, description, table(title, columns, rows))


def _calibration(evidence: Evidence, names: Names) -> Iterator[str]:
    found = [(name, track, calibration(model)) for name, track, model in _both(evidence, names)]
    title = "Calibration"
    description = (
        "How often what was promised with a probability came true, in ten bins. On the dotted diagonal, as often as "
        "promised."
    )
    lines = [Line(name, track, Curve(bins.promised, bins.observed), has_marks=True) for name, track, bins in found]
    chart = line_chart(
        title,
        description,
        Axis("promised probability"),
        Axis("came true"),
        lines,
        ideal=Line("", "ideal", _DIAGONAL),
    )
    rows = [
        Row((name, number(float(promised)), number(float(observed)), f"{count:,}"))
        for name, _, bins in found
        for promised, observed, count in zip(bins.promised, bins.observed, bins.rows, strict=True)
    ]
    columns = (
        Column("Version"),
        Column("promised", is_number=True),
        Column("came true", is_number=True),
        Column("rows", is_number=True),
    )
    yield _figure(title, chart, description, table(title, columns, rows))


def _histogram(title: str, description: str, x_title: str, found: Histogram, tracks: Sequence[str]) -> str:
    chart = histogram_chart(title, description, x_title, found, tracks)
    columns = (Column("from"), Column("to"), *(Column(name, is_number=True) for name in found.counts))
    counts = zip(*found.counts.values(), strict=True)
    rows = [
        Row((number(float(low)), number(float(high)), *(f"{count:,}" for count in bins)))
        for low, high, bins in zip(found.edges[:-1], found.edges[1:], counts, strict=True)
    ]
    return _figure(title, chart, description, table(f"{title}: number of rows", columns, rows))


def _confusion(model: Classified, classes: Sequence[str]) -> str:
    counts = confusion(model)
    names = [*classes, *(["none of them"] if counts.shape[1] > len(classes) else [])]
    if len(classes) <= _MAX_MATRIX:
        columns = (Column("actual ↓ said →"), *(Column(name, is_number=True) for name in names))
        rows = [Row((name, *(f"{count:,}" for count in row))) for name, row in zip(classes, counts, strict=True)]
        note = "Rows of each actual class, by what the model called them."
        return _figure_without_chart("Confusion matrix", note, table("Confusion matrix", columns, rows))
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:_MAX_CONFUSIONS]
    pairs = [(int(index) // counts.shape[1], int(index) % counts.shape[1]) for index in order]
    columns = (Column("actual"), Column("said"), Column("rows", is_number=True))
    rows = [Row((classes[a], names[b], f"{mistakes[a, b]:,}")) for a, b in pairs if mistakes[a, b]]
    note = f"The most frequent of the mistakes between {len(classes)} classes."
    return _figure_without_chart("Confusions", note, table("Confusions", columns, rows))


def _deciles(model: Estimated) -> str:
    """Return mean truth and estimate in ten equal parts of the rows, in order of the estimates."""
    order = np.argsort(model.value, kind="stable")
    rows = [
        Row(
            (
                str(index + 1),
                number(float(model.value[part].mean())),
                number(float(model.truth[part].mean())),
                number(float((model.value - model.truth)[part].std())),
                f"{len(part):,}",
            )
        )
        for index, part in enumerate(np.array_split(order, _DECILES))
        if len(part)
    ]
    titles = ("mean predicted", "mean actual", "deviation of residuals", "rows")
    columns = (Column("Tenth of the rows"), *(Column(title, is_number=True) for title in titles))
    return table("By tenths of what was predicted", columns, rows)


def _chosen(rows: int) -> Integers:
    if rows <= _DOTS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(_SEED).choice(rows, _DOTS, replace=False)).astype(np.int64)


def _figure(title: str, chart: str, caption: str, numbers: str) -> str:
    return (
        f"<figure><h3>{text(title)}</h3>{chart}<figcaption>{text(caption)}</figcaption>"
        f"<details><summary>Numbers of “{text(title)}”</summary>{numbers}</details></figure>"
    )


def _figure_without_chart(title: str, caption: str, numbers: str) -> str:
    return f"<figure><h3>{text(title)}</h3>{numbers}<figcaption>{text(caption)}</figcaption></figure>"
