"""What differs between two versions of a model. Pure: from two records (and their runs, while they exist) to rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.api.v1alpha1 import ModelVersion, TrainingRun


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
    """One version, and the run that made it while it exists."""

    version: ModelVersion
    run: TrainingRun | None = None


ABSENT = "—"


def compare(left: Side, right: Side) -> list[Row]:
    """Return the rows of evaluation, code, data, parameters and bytes, in that order."""
    return [
        *_evaluation(left.version, right.version),
        *_rows("code", _images(left.version), _images(right.version)),
        *_rows("data", _inputs(left.version), _inputs(right.version)),
        *_rows("parameters", _parameters(left), _parameters(right)),
        *_rows("artifact", _artifact(left.version), _artifact(right.version)),
    ]


def _rows(section: str, left: Mapping[str, str], right: Mapping[str, str]) -> Iterable[Row]:
    names = list(left) + [name for name in right if name not in left]
    return (Row(section, name, left.get(name, ABSENT), right.get(name, ABSENT)) for name in names)


def _evaluation(left: ModelVersion, right: ModelVersion) -> Iterable[Row]:
    def facts(version: ModelVersion) -> dict[str, str]:
        evaluation = version.spec.evaluation
        if evaluation is None:
            return {}
        found = {
            "verdict": evaluation.verdict.value,
            evaluation.metric.value: evaluation.value or ABSENT,
            "interval": f"{evaluation.low} … {evaluation.high}" if evaluation.low and evaluation.high else ABSENT,
            "rows": str(evaluation.rows),
            "judged rows": evaluation.dataset_digest,
        }
        if evaluation.champion:
            found["champion then"] = f"v{evaluation.champion.version} ({evaluation.champion.value})"
        deciding = evaluation.metric.value
        return found | {metric.name: metric.value for metric in evaluation.metrics if metric.name != deciding}

    return _rows("evaluation", facts(left), facts(right))


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
    known = {parameter.name: parameter.value for parameter in side.run.spec.parameters} if side.run else {}
    return {"seed": str(lineage.seed), **known, "digest": lineage.parameters_digest}


def _artifact(version: ModelVersion) -> dict[str, str]:
    artifact = version.spec.artifact
    schema = artifact.schema_digest or ABSENT
    return {"digest": artifact.digest, "bytes": str(artifact.bytes), "schema": schema}
