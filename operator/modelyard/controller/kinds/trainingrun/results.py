"""What our containers answer when they end well (docs/contracts.md). Pure."""

from collections.abc import Iterable
from typing import Final, TypeVar

from pydantic import ValidationError

from modelyard.api.v1alpha1.common import ApiModel, Digest, Metrics
from modelyard.api.v1alpha1.modelversion import Evaluation
from modelyard.api.v1alpha1.trainingrun import Output, StepMetric

_METRICS_LIMIT: Final = 16


class StepResult(ApiModel):
    """The answer of publish."""

    outputs: tuple[Output, ...] = ()
    metrics: Metrics = ()


class RegisteredArtifact(ApiModel):
    """What register found in the model directory and the judged rows."""

    schema_digest: Digest | None = None
    dataset_digest: Digest | None = None


class RegisterResult(ApiModel):
    """The answer of register."""

    artifact: RegisteredArtifact = RegisteredArtifact()
    evaluation: Evaluation | None = None


Result = TypeVar("Result", StepResult, RegisterResult)


def read_result(kind: type[Result], text: str | None) -> Result | None:
    """Return an answer, or None when there is none or it is not one."""
    if not text:
        return None
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        return None


def newest_metrics(known: Iterable[StepMetric], step: str, reported: Metrics) -> tuple[StepMetric, ...]:
    """Return the newest value of each metric once a step has reported its own; a run keeps the last few."""
    values = {metric.name: metric for metric in known}
    values |= {metric.name: StepMetric(name=metric.name, value=metric.value, step=step) for metric in reported}
    return tuple(values.values())[-_METRICS_LIMIT:]
