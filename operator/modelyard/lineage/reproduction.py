"""Running a model's run again: the TrainingRun to make, and what came out the same. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.api.v1alpha1.names import (
    API_VERSION,
    CHAMPION_INPUT,
    MAX_MODEL_NAME,
    MAX_RUN_NAME,
    model_version_name,
)
from modelyard.api.v1alpha1.trainingrun import CachePolicy, Step, TrainingRun
from modelyard.lineage.documents.subject import image_digest
from modelyard.lineage.run import RunRecord

LINE_SUFFIX: Final = "-reproduced"
REPRODUCES: Final = "modelyard.dev/reproduces"
"""Annotation of the run: digest of the model that it repeats."""
ABSENT: Final = "—"


@dataclass(frozen=True)
class Reproduction:
    """A run that repeats another, and why it may give another model all the same."""

    manifest: dict[str, Any]
    caveats: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the run."""
        name: str = self.manifest["metadata"]["name"]
        return name


@dataclass(frozen=True)
class Difference:
    """A metric, or the image of a step, that was not the same."""

    name: str
    original: str
    reproduced: str


@dataclass(frozen=True)
class Comparison:
    """What came out of a repeated run."""

    original_digest: str
    reproduced_digest: str
    metrics: int
    """How many metrics were compared."""
    differences: tuple[Difference, ...]
    """Metrics that differ."""
    code: tuple[Difference, ...]
    """Steps that ran in another image."""

    @property
    def bit_for_bit(self) -> bool:
        """Whether every byte of the model is the same."""
        return self.original_digest == self.reproduced_digest


def reproduction(record: ModelVersionSpec, run: RunRecord, namespace: str) -> Reproduction:
    """Return the run that repeats the one that made a model: the same inputs and images by digest, and its seed.

    It publishes to a model line of its own, `<model>-reproduced`: neither the champion nor the numbers of the line
    that serves may change because somebody checks a model.
    """
    images = {step.name: step.image for step in run.steps}
    digests = {item.name: item.digest for item in run.inputs}
    spec = run.spec.model_copy(
        update={
            "model": f"{record.model[: MAX_MODEL_NAME - len(LINE_SUFFIX)].rstrip('-')}{LINE_SUFFIX}",
            "requested_by": None,
            "trigger": None,
            "inputs": tuple(
                item.model_copy(update={"digest": digests.get(item.name, item.digest)}) for item in run.spec.inputs
            ),
            "steps": tuple(_pinned(step, images.get(step.name)) for step in run.spec.steps),
        }
    )
    manifest = {
        "apiVersion": API_VERSION,
        "kind": TrainingRun.kind,
        "metadata": {
            "name": _name(record),
            "namespace": namespace,
            "annotations": {REPRODUCES: record.artifact.digest},
        },
        "spec": _without_empty(as_json(spec)),
    }
    return Reproduction(manifest, tuple(_caveats(run)))


def compare_results(
    original: tuple[ModelVersionSpec, RunRecord], reproduced: tuple[ModelVersionSpec, RunRecord]
) -> Comparison:
    """Compare what two runs made: each a record, and the run that made it."""
    before, after = _metrics(*original), _metrics(*reproduced)
    return Comparison(
        original[0].artifact.digest,
        reproduced[0].artifact.digest,
        len(before.keys() | after.keys()),
        _differences(before, after),
        _differences(_images(original[1]), _images(reproduced[1])),
    )


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Difference, ...]:
    pairs = [(name, before.get(name, ABSENT), after.get(name, ABSENT)) for name in sorted(before.keys() | after.keys())]
    return tuple(Difference(*pair) for pair in pairs if pair[1] != pair[2])


def _images(run: RunRecord) -> dict[str, str]:
    return {step.name: step.image or ABSENT for step in run.steps}


def _metrics(record: ModelVersionSpec, run: RunRecord) -> dict[str, str]:
    return {metric.name: metric.value for metric in run.metrics} | _judged(record)


def _judged(record: ModelVersionSpec) -> dict[str, str]:
    evaluation = record.evaluation
    if evaluation is None:
        return {}
    deciding = {str(evaluation.metric): evaluation.value} if evaluation.value else {}
    return {f"evaluation/{name}": value for name, value in deciding.items()} | {
        f"evaluation/{metric.name}": metric.value for metric in evaluation.metrics
    }


def _name(record: ModelVersionSpec) -> str:
    """Return a name that the same model always gets, so that asking twice does not run twice."""
    version = model_version_name(record.model, record.version)
    digest = hashlib.sha256(f"{version} {record.artifact.digest}".encode()).hexdigest()[:8]
    return f"{version[: MAX_RUN_NAME - 10].rstrip('-')}-r{digest}"


def _without_empty(value: Any) -> Any:
    """Leave out empty lists and maps: the rules of the API tell an empty `command` from none."""
    match value:
        case dict():
            return {name: kept for name, item in value.items() if (kept := _without_empty(item)) not in ([], {})}
        case list():
            return [_without_empty(item) for item in value]
        case _:
            return value


def _pinned(step: Step, image: str | None) -> Step:
    """Return a step that runs what ran, and runs in any case: what is taken over from a cache repeats nothing."""
    code = {"image": image} if step.image and image else {}
    return step.model_copy(update={"cache": CachePolicy.NEVER, **code})


def _caveats(run: RunRecord) -> list[str]:
    unknown = [
        f"step '{step.name}': its image is not known by digest, so it may have changed"
        for step in run.steps
        if not (step.image and image_digest(step.image))
    ]
    judging = [
        f"step '{step.name}': reads the champion, and a model line of its own has none at first"
        for step in run.spec.steps
        if CHAMPION_INPUT in step.inputs
    ]
    return unknown + judging
