"""What differs between two versions of a model. Pure: from two records (and their runs, while they exist) to rows."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.api.v1alpha1 import ModelVersion
from modelyard.api.v1alpha1.comparison import comparison
from modelyard.api.v1alpha1.modelversion import Difference, Evaluation, SliceScore
from modelyard.lineage.run import RunRecord
from modelyard.model.signature import InputTensor, OutputTensor, Signature


@dataclass(frozen=True)
class Row:
    """One aspect of two versions."""

    section: str
    name: str
    left: str
    right: str

    @property
    def differs(self) -> bool:
        """Say whether the two sides are not the same."""
        return self.left != self.right


@dataclass(frozen=True)
class Side:
    """One version, the run that made it and its signature, as far as they can be read."""

    version: ModelVersion
    run: RunRecord | None = None
    signature: Signature | None = None


ABSENT = "—"


def compare(left: Side, right: Side) -> list[Row]:
    """Return the rows of evaluation, code, data, parameters, schema and bytes, in that order."""
    return [
        *_evaluation(left.version, right.version),
        *_rows("code", _images(left.version), _images(right.version)),
        *_rows("data", _inputs(left.version), _inputs(right.version)),
        *_rows("parameters", _parameters(left), _parameters(right)),
        *_rows("schema", *_schemas(left, right)),
        *_rows("artifact", _artifact(left.version), _artifact(right.version)),
    ]


def _rows(section: str, left: Mapping[str, str], right: Mapping[str, str]) -> Iterable[Row]:
    names = list(left) + [name for name in right if name not in left]
    return (Row(section, name, left.get(name, ABSENT), right.get(name, ABSENT)) for name in names)


def _evaluation(left: ModelVersion, right: ModelVersion) -> Iterable[Row]:
    return _rows("evaluation", _facts(left.spec.evaluation), _facts(right.spec.evaluation))


def _facts(evaluation: Evaluation | None) -> dict[str, str]:
    if evaluation is None:
        return {}
    deciding = evaluation.metric
    found = {
        "verdict": evaluation.verdict.value,
        "by": evaluation.by.value,
        deciding: evaluation.value or ABSENT,
        "95 % interval": _interval(evaluation.low, evaluation.high),
        "rows": ABSENT if evaluation.rows is None else str(evaluation.rows),
        "judged rows": evaluation.dataset_digest or ABSENT,
    }
    rival = evaluation.champion
    if rival:
        found["champion then"] = f"v{rival.version} ({rival.value})"
        found["compared with it"] = comparison(evaluation) or ABSENT
    if rival and rival.difference:
        found["difference"] = _difference(rival.difference)
    found |= {metric.name: metric.value for metric in evaluation.metrics if metric.name != deciding}
    return found | {f"slice {part.column}": _slice(part) for part in evaluation.slices}


def _slice(part: SliceScore) -> str:
    against = f", champion {part.champion}" if part.champion else ""
    difference = f", difference {_difference(part.difference)}" if part.difference else ""
    return f"worst of {part.groups}: '{part.group}' {part.value} on {part.rows} rows{against}{difference}"


def _difference(difference: Difference) -> str:
    interval = _interval(difference.low, difference.high)
    return difference.value if interval == ABSENT else f"{difference.value} ({interval})"


def _interval(low: str | None, high: str | None) -> str:
    return f"{low} … {high}" if low and high else ABSENT


def _images(version: ModelVersion) -> dict[str, str]:
    lineage = version.spec.lineage
    return {code.step: code.image for code in lineage.code} if lineage else {}


def _inputs(version: ModelVersion) -> dict[str, str]:
    lineage = version.spec.lineage
    return {item.name: f"{item.uri} {item.digest}" for item in lineage.inputs} if lineage else {}


def _parameters(side: Side) -> dict[str, str]:
    lineage = side.version.spec.lineage
    if lineage is None:
        return {}
    known = side.run.parameters if side.run else {}
    return {"seed": str(lineage.seed), **known, "digest": lineage.parameters_digest}


def _schemas(left: Side, right: Side) -> tuple[dict[str, str], dict[str, str]]:
    """Return the signatures tensor by tensor when both can be read, so that a row never compares known with unknown."""
    if left.signature and right.signature:
        return _tensors(left.signature), _tensors(right.signature)
    return _schema_digest(left.version), _schema_digest(right.version)


def _schema_digest(version: ModelVersion) -> dict[str, str]:
    return {"digest": version.spec.artifact.schema_digest or ABSENT}


def _tensors(signature: Signature) -> dict[str, str]:
    inputs = {f"input {tensor.name}": _describe_input(tensor) for tensor in signature.inputs}
    outputs = {f"output {tensor.name}": _describe_output(tensor) for tensor in signature.outputs}
    return {"task": signature.task.value, "label": signature.label or ABSENT, **inputs, **outputs}


def _describe_input(tensor: InputTensor) -> str:
    parts = [f"{tensor.datatype.value}{list(tensor.shape)}", tensor.kind.value]
    if tensor.minimum is not None or tensor.maximum is not None:
        parts.append(f"{_bound(tensor.minimum)} … {_bound(tensor.maximum)}")
    if tensor.categories is not None:
        parts.append(f"{len(tensor.categories)} categories ({_fingerprint(tensor.categories)})")
    return ", ".join((*parts, "may be missing") if tensor.nullable else parts)


def _describe_output(tensor: OutputTensor) -> str:
    text = f"{tensor.datatype.value}{list(tensor.shape)}"
    return text if tensor.classes is None else f"{text}, classes {_fingerprint(tensor.classes)}"


def _fingerprint(values: Iterable[str]) -> str:
    """Return eight digits that tell lists of texts apart."""
    return hashlib.sha256("\0".join(values).encode()).hexdigest()[:8]


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _artifact(version: ModelVersion) -> dict[str, str]:
    artifact = version.spec.artifact
    return {"digest": artifact.digest, "bytes": str(artifact.bytes)}
