"""The record of the version that a run makes, as it is before the model is judged. Pure."""

from modelyard.api.canonical import json_digest
from modelyard.api.v1alpha1.modelversion import (
    Artifact,
    Card,
    InputLineage,
    Lineage,
    ModelVersion,
    ModelVersionSpec,
    RunReference,
    StepCode,
)
from modelyard.api.v1alpha1.trainingrun import Output, TrainingRun
from modelyard.lineage.run import RunRecord


def lineage_of(run: TrainingRun, champion: ModelVersion | None) -> Lineage:
    """Return what a run's model was made from.

    Args:
        run: the run, with all its steps but the last recorded in status.
        champion: the champion when the version is made.
    """
    return Lineage(
        training_run=RunReference(
            name=run.metadata.name,
            uid=run.metadata.uid,
            namespace=run.metadata.namespace,
            start_time=run.status.start_time,
        ),
        code=tuple(StepCode(step=step.name, image=step.image) for step in run.status.steps if step.image),
        inputs=tuple(
            InputLineage(name=item.name, uri=item.uri, digest=item.digest, version=item.version)
            for item in run.status.inputs
        ),
        parameters_digest=json_digest({parameter.name: parameter.value for parameter in run.spec.parameters}),
        seed=run.spec.seed,
        run_digest=RunRecord.of(run).digest,
        previous_version=champion.spec.version if champion else None,
    )


def record_of(run: TrainingRun, version: int, model: Output, champion: ModelVersion | None) -> ModelVersionSpec:
    """Return the record of a version.

    Args:
        run: the run, with all its steps but the last recorded in status.
        version: its number.
        model: the published model directory.
        champion: the champion when the version is made.
    """
    return ModelVersionSpec(
        model=run.spec.model,
        version=version,
        artifact=Artifact(uri=model.uri, digest=model.digest, bytes=model.bytes),
        lineage=lineage_of(run, champion),
        card=Card(requested_by=run.spec.requested_by),
    )
