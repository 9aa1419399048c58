"""`card.md`: what a person should know before using a model, as CommonMark."""

import re
from collections.abc import Iterable
from typing import Final

from modelyard.api.v1alpha1.modelversion import ACCEPTING, Evaluation
from modelyard.lineage.documents.subject import Subject
from modelyard.model.base import Kind
from modelyard.model.signature import InputTensor

_MAX_INPUTS: Final = 200
_MAX_TEXT: Final = 200
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&])")
_LINE_BREAKS: Final = re.compile(r"\s+")


def render(subject: Subject) -> str:
    """Return the card. Whatever users wrote is escaped and cut, so that it cannot become markup."""
    sections = (
        (f"# {escape(subject.name)}", _summary(subject)),
        ("## Use", _use(subject)),
        ("## Inputs", _inputs(subject)),
        ("## Data", _data(subject)),
        ("## Training", _training(subject)),
        ("## Evaluation", _evaluation(subject.record.evaluation)),
        ("## Limits", _limits(subject)),
    )
    return "\n".join("\n".join((title, "", *lines, "")) for title, lines in sections)


def _summary(subject: Subject) -> list[str]:
    record, run = subject.record, subject.run
    rows = [
        ("Model", escape(record.model)),
        ("Version", str(record.version)),
        ("Owner", escape(record.card.owner or "not stated")),
        ("Requested by", escape(record.card.requested_by or "not stated")),
        ("Made by", f"TrainingRun {escape(run.name)} in namespace {escape(run.namespace)}"),
        ("Finished", escape(subject.end_time or "not known")),
        ("Digest", f"`{record.artifact.digest}`"),
        ("Size", f"{record.artifact.bytes} bytes"),
    ]
    return _table(("Fact", "Value"), rows)


def _use(subject: Subject) -> list[str]:
    signature = subject.signature
    target = f" of {escape(signature.label)}" if signature.label else ""
    answers = ", ".join(escape(output.name) for output in signature.outputs)
    return [f"{signature.task.value}{target}. Answers: {answers}. Its owner has stated no further intended use."]


def _inputs(subject: Subject) -> list[str]:
    inputs = subject.signature.inputs
    rows = [
        (escape(tensor.name), tensor.datatype.value, _values(tensor), "yes" if tensor.nullable else "no")
        for tensor in inputs[:_MAX_INPUTS]
    ]
    rest = [f"And {len(inputs) - _MAX_INPUTS} more."] if len(inputs) > _MAX_INPUTS else []
    return [*_table(("Input", "Type", "Values in training", "May be missing"), rows), *rest]


def _values(tensor: InputTensor) -> str:
    if tensor.kind is Kind.CATEGORICAL:
        return f"{len(tensor.categories or ())} categories" if tensor.categories else "any text"
    if tensor.minimum is None or tensor.maximum is None:
        return "any number"
    return f"{tensor.minimum:g} to {tensor.maximum:g}"


def _data(subject: Subject) -> list[str]:
    rows = [
        (escape(item.name), escape(item.uri), escape(item.version or "none"), f"`{item.digest}`")
        for item in subject.run.inputs
    ]
    return _table(("Input", "Where", "Version", "Digest"), rows) if rows else ["The run read no inputs."]


def _training(subject: Subject) -> list[str]:
    run = subject.run
    steps = [(escape(step.name), f"`{step.image}`" if step.image else "not known") for step in run.steps]
    values = [("seed", str(run.spec.seed)), *sorted(run.parameters.items())]
    return [
        *_table(("Step", "Image"), steps),
        "",
        *_table(("Parameter", "Value"), [(escape(name), escape(value)) for name, value in values]),
    ]


def _evaluation(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["The model was recorded without being judged."]
    deciding = str(evaluation.metric)
    interval = f"{evaluation.low} to {evaluation.high}" if evaluation.low and evaluation.high else "not known"
    champion = evaluation.champion
    rows = [(escape(deciding), evaluation.value or "not defined", interval, champion.value if champion else "none")]
    rows += [(escape(item.name), item.value, "", "") for item in evaluation.metrics if item.name != deciding]
    against = f", beside version {champion.version}" if champion else ""
    return [
        f"{evaluation.verdict.value}: {escape(evaluation.message or 'no message')}",
        "",
        f"Judged {f'on {evaluation.rows} rows ' if evaluation.rows else ''}by {evaluation.by}{against}.",
        "",
        *_table(("Metric", "Value", "95 % interval", "Champion's value"), rows),
    ]


def _limits(subject: Subject) -> list[str]:
    evaluation = subject.record.evaluation
    lines = [
        "- The model knows only values like those of the table of inputs; others are answered without any evidence."
    ]
    if evaluation is None:
        lines.append("- Nobody has measured how good it is.")
    elif evaluation.verdict not in ACCEPTING:
        lines.append(f"- Its evaluation did not accept it: {evaluation.verdict.value}.")
    unknown = [step.name for step in subject.run.steps if not step.image or "@sha256:" not in step.image]
    if unknown:
        lines.append(f"- Images that are not known by digest: {escape(', '.join(unknown))}.")
    return lines


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def escape(text: str) -> str:
    """Return a text that CommonMark shows as it is, in one line of at most about 200 characters."""
    plain = _LINE_BREAKS.sub(" ", text).strip()
    cut = plain if len(plain) <= _MAX_TEXT else plain[: _MAX_TEXT - 1] + "…"
    return _SPECIAL.sub(r"\\\1", cut)
