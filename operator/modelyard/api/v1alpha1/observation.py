"""Observation: what an agent saw, typed and small."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelyard.api.v1alpha1.common import (
    LIST_ATOMIC,
    ApiModel,
    Count32,
    Count64,
    CustomResource,
    Digest,
    InputUri,
    ItemName,
    Message,
    PrinterColumn,
    ResourceName,
    StoreUri,
    Time,
    list_map,
)
from modelyard.api.v1alpha1.trainingrun import RunProgress, StepName


class SubjectKind(StrEnum):
    """Kinds that are observed."""

    TRAINING_RUN = "TrainingRun"
    MODEL_VERSION = "ModelVersion"
    PIPELINE = "Pipeline"


class Subject(ApiModel):
    """What was observed."""

    kind: SubjectKind
    """Kind of the object."""
    name: ResourceName
    """Name of the object."""
    uid: Annotated[str, Field(max_length=64)]
    """Uid of the object."""


class ObservedError(ApiModel):
    """Why something could not be observed."""

    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Reason, for programs."""
    message: Message
    """What a person needs to know or do."""


class ObservedInput(ApiModel):
    """One input as it is now."""

    name: ItemName
    """Name of the input."""
    uri: InputUri | None = None
    """Where it was looked for; absent for a TrainingRun, whose inputs do not change."""
    digest: Digest | None = None
    """What it hashes to or, beside `error`, hashed to when it could last be read."""
    version: Annotated[str, Field(max_length=256)] | None = None
    """Version in the store, commit, or version of a Delta Lake or Iceberg table."""
    bytes: Count64 = 0
    """Size."""
    rows: Count64 | None = None
    """Number of rows, where the files or the table tell it."""
    fingerprint: Digest | None = None
    """Digest of what the store said of it when it was hashed; it is not hashed again while the store says the same."""
    error: ObservedError | None = None
    """Why it cannot be read."""


class ObservedResult(ApiModel):
    """A step's result found in the store."""

    step: StepName
    """Name of the step."""
    attempt: Count32
    """Attempt that left it."""
    result: Annotated[str, Field(max_length=4096)]
    """The result, as JSON."""


class OutputState(StrEnum):
    """Whether an output of an earlier run is still there."""

    PRESENT = "Present"
    MISSING = "Missing"
    UNREACHABLE = "Unreachable"


class ObservedOutput(ApiModel):
    """An output that a step may take over, as it is now."""

    uri: StoreUri
    """Where its manifest is."""
    state: OutputState
    """Whether its manifest and all its files are there."""
    message: Message = ""
    """What is missing."""


class ObservedProgress(RunProgress):
    """What a step that runs says of itself."""

    step: StepName
    """Name of the step."""
    attempt: Count32
    """Attempt that runs."""


class ArtifactState(StrEnum):
    """State of a version's bytes."""

    VERIFIED = "Verified"
    MISSING = "Missing"
    CORRUPT = "Corrupt"
    UNREACHABLE = "Unreachable"


class ObservedArtifact(ApiModel):
    """A version's bytes as they are now."""

    digest: Digest
    """Digest that was checked."""
    state: ArtifactState
    """Outcome."""
    message: Message = ""
    """What a person needs to know or do."""


class ObservationSpec(ApiModel):
    """What was seen."""

    subject: Subject
    """What was observed."""
    observed_time: Time
    """When what was seen last changed."""
    inputs: Annotated[tuple[ObservedInput, ...], Field(max_length=16, json_schema_extra=list_map())] = ()
    """Inputs of a TrainingRun or of a Pipeline's template."""
    results: Annotated[tuple[ObservedResult, ...], Field(max_length=17, json_schema_extra=LIST_ATOMIC)] = ()
    """Results of running steps that were found in the store."""
    outputs: Annotated[tuple[ObservedOutput, ...], Field(max_length=8, json_schema_extra=list_map("uri"))] = ()
    """Outputs that the next step of a TrainingRun may take over."""
    progress: ObservedProgress | None = None
    """What a step of a TrainingRun says of itself while it runs."""
    artifact: ObservedArtifact | None = None
    """Bytes of a ModelVersion."""


class Observation(CustomResource):
    """What an agent saw. Written by agents only."""

    plural = "observations"
    kind = "Observation"
    categories = ()
    columns = (
        PrinterColumn(name="Kind", type="string", json_path=".spec.subject.kind", description="Kind of the object"),
        PrinterColumn(name="Subject", type="string", json_path=".spec.subject.name", description="Name of the object"),
        PrinterColumn(
            name="Observed",
            type="date",
            json_path=".spec.observedTime",
            description="When what was seen last changed",
        ),
    )

    spec: ObservationSpec
    """What was seen."""
