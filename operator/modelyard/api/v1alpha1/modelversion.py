"""ModelVersion: an immutable record of a model, bound to its bytes by digest."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelyard.api.v1alpha1.common import (
    ApiModel,
    Conditions,
    Count32,
    Count64,
    CustomResource,
    Decimal,
    Digest,
    ImageName,
    InputUri,
    ItemName,
    Message,
    Metrics,
    Person,
    PrinterColumn,
    ResourceName,
    Rule,
    StoreUri,
    Time,
    VersionNumber,
    list_map,
)
from modelyard.api.v1alpha1.trainingrun import Goal, Judge, MetricName, ModelName, StepName


class ConditionType(StrEnum):
    """Conditions of a ModelVersion."""

    READY = "Ready"
    ARTIFACT_AVAILABLE = "ArtifactAvailable"
    CONVERTED = "Converted"
    ACCEPTED = "Accepted"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Reasons of a ModelVersion's conditions that are not a verdict."""

    AVAILABLE = "Available"
    RETIRED = "Retired"
    VERIFIED = "Verified"
    VERIFYING = "Verifying"
    NO_AGENT = "NoAgent"
    ARTIFACT_MISSING = "ArtifactMissing"
    ARTIFACT_CORRUPT = "ArtifactCorrupt"
    ARTIFACT_UNREACHABLE = "ArtifactUnreachable"
    CONVERTED = "Converted"
    CONVERTING = "Converting"
    CONVERSION_FAILED = "ConversionFailed"


class Refusal(StrEnum):
    """Why a Pickle is not converted and never will be; reasons of `convert` and of the condition Converted."""

    LIMIT_EXCEEDED = "LimitExceeded"
    NOT_CONVERTIBLE = "NotConvertible"
    PARITY_FAILED = "ParityFailed"
    PICKLE_REFUSED = "PickleRefused"
    SAMPLES_INVALID = "SamplesInvalid"
    VERSION_MISMATCH = "VersionMismatch"


class Verdict(StrEnum):
    """Outcome of an evaluation; also the reason of the condition Accepted."""

    FIRST_VERSION = "FirstVersion"
    BETTER_THAN_CHAMPION = "BetterThanChampion"
    NOT_BETTER = "NotBetter"
    BELOW_THRESHOLD = "BelowThreshold"
    TOO_FEW_ROWS = "TooFewRows"
    SLICE_REGRESSED = "SliceRegressed"
    CHAMPION_MOVED = "ChampionMoved"
    REGISTERED = "Registered"


ACCEPTING = frozenset({Verdict.FIRST_VERSION, Verdict.BETTER_THAN_CHAMPION})
"""Verdicts by which a version is accepted by evaluation and may be champion."""


class Format(StrEnum):
    """Format of the model's bytes."""

    ONNX = "ONNX"
    PICKLE = "Pickle"


class Artifact(ApiModel):
    """Where the model's bytes are, and what they hash to."""

    uri: StoreUri
    """A content-addressed tree, or a prefix when it ends in `/`."""
    digest: Digest
    """Digest of the tree's manifest."""
    bytes: Count64 = 0
    """Size of all its files."""
    schema_digest: Digest | None = None
    """Digest of the model's signature."""
    dataset_digest: Digest | None = None
    """Digest of the judged rows."""

    rules = (
        Rule(
            rule="self.uri.endsWith('/') || self.uri.endsWith('blobs/sha256/' + self.digest.substring(7))",
            message="must end in '/' (a prefix) or in 'blobs/sha256/' and the hexadecimal part of `digest`",
            field_path=".uri",
        ),
    )


class RunReference(ApiModel):
    """The TrainingRun that made the version."""

    name: ResourceName
    """Name of the run."""
    uid: Annotated[str, Field(max_length=64)]
    """Uid of the run."""
    namespace: ResourceName
    """Namespace of the run."""
    start_time: Time | None = None
    """When it began."""


class StepCode(ApiModel):
    """Code of one step."""

    step: StepName
    """Name of the step."""
    image: ImageName
    """Image that ran, by digest where the node knew it."""


class InputLineage(ApiModel):
    """One input of the run."""

    name: ItemName
    """Name of the input."""
    uri: InputUri
    """Where it was read."""
    digest: Digest
    """What it hashed to."""
    version: Annotated[str, Field(max_length=256)] | None = None
    """Version in the store."""


class Lineage(ApiModel):
    """What the version was made from."""

    training_run: RunReference
    """The run that made it."""
    code: Annotated[tuple[StepCode, ...], Field(max_length=17, json_schema_extra=list_map("step"))] = ()
    """Code of each step."""
    inputs: Annotated[tuple[InputLineage, ...], Field(max_length=16, json_schema_extra=list_map())] = ()
    """Data and code that were read."""
    parameters_digest: Digest
    """Digest of the parameters."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647, json_schema_extra={"format": "int32"})] = 0
    """Seed of the run."""
    run_digest: Digest | None = None
    """Digest of `run.json`, beside the record in the store: the whole run, from which it can be repeated."""
    previous_version: VersionNumber | None = None
    """Champion when the version was made."""


class Difference(ApiModel):
    """The new version's value less the champion's, on the same rows."""

    value: Decimal
    """The difference."""
    low: Decimal | None = None
    """Lower end of its 95 % interval; absent when the numbers are a step's."""
    high: Decimal | None = None
    """Upper end of its 95 % interval."""


class ChampionScore(ApiModel):
    """The champion on the same rows."""

    version: VersionNumber
    """Version of the champion."""
    digest: Digest
    """Digest of the champion's bytes."""
    value: Decimal
    """Its value of the deciding metric."""
    difference: Difference | None = None
    """How far the new version is from it."""


class SliceScore(ApiModel):
    """The group of a slice that fares worst beside the champion; without one, the group with the worst value."""

    column: Annotated[str, Field(min_length=1, max_length=128)]
    """Column of the slice."""
    group: Annotated[str, Field(max_length=100)]
    """Value of the column, cut to 100 characters."""
    groups: Count32
    """How many groups of the slice had enough rows to be judged."""
    skipped: Count32 = 0
    """How many groups had too few rows, or rows on which the metric is undefined."""
    rows: Count64
    """Number of the group's rows."""
    value: Decimal
    """Value of the deciding metric on them."""
    champion: Decimal | None = None
    """The champion's value on them."""
    difference: Difference | None = None
    """The new version's value less the champion's; its interval allows for the number of groups."""


class FeatureImportance(ApiModel):
    """What the model loses without the information of one feature."""

    feature: Annotated[str, Field(min_length=1, max_length=128)]
    """Name of the feature."""
    value: Decimal
    """How much worse the deciding metric becomes when the feature's values are shuffled among the rows."""


class Evaluation(ApiModel):
    """How the version was judged."""

    by: Judge = Judge.MODELYARD
    """Whose numbers they are: Modelyard's, which scores the stored model itself, or a step's."""
    metric: MetricName
    """Metric that decided."""
    goal: Goal | None = None
    """Which direction of the metric is better."""
    value: Decimal | None = None
    """Value of the metric; absent when it could not be computed."""
    low: Decimal | None = None
    """Lower end of its 95 % interval."""
    high: Decimal | None = None
    """Upper end of its 95 % interval."""
    rows: Count64 | None = None
    """Number of judged rows; absent when the numbers are a step's."""
    dataset_digest: Digest | None = None
    """Digest of the judged rows; absent when a step judged rows of its own."""
    champion: ChampionScore | None = None
    """The champion on the same rows; absent for a first version."""
    verdict: Verdict
    """Outcome."""
    message: Message = ""
    """The outcome in a sentence."""
    metrics: Metrics = ()
    """Further metrics of the same rows."""
    slices: Annotated[tuple[SliceScore, ...], Field(max_length=8, json_schema_extra=list_map("column"))] = ()
    """Worst group of each slice; the report has all of them."""
    importance: Annotated[
        tuple[FeatureImportance, ...], Field(max_length=16, json_schema_extra=list_map("feature"))
    ] = ()
    """Most important features, in order; as many of 16 as fit the record."""
    report_digest: Digest | None = None
    """Digest of `report.html`, beside the record in the store."""


class Card(ApiModel):
    """What people say about the version."""

    owner: Person | None = None
    """Who answers for the model."""
    requested_by: Person | None = None
    """Who asked for the run."""


class Retirement(ApiModel):
    """Why a version must not serve any more."""

    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """The reason, for people."""


class ModelVersionSpec(ApiModel):
    """The record. Immutable after creation, `retired` aside."""

    model: ModelName
    """Model line."""
    version: VersionNumber
    """Number of the version."""
    format: Format = Format.ONNX
    """Format of the bytes. A Pickle is a tree with `model.pkl` and sample rows; it is converted before it serves."""
    artifact: Artifact
    """The bytes."""
    lineage: Lineage | None = None
    """What it was made from; absent for a model that a person registered."""
    evaluation: Evaluation | None = None
    """How it was judged; absent = it was not."""
    card: Card = Card()
    """What people say about it."""
    retired: Retirement | None = None
    """Set to take the version out of service; nothing resolves to it any more."""

    mutable = frozenset({"retired"})
    rules = (
        Rule(
            rule="self.format != 'Pickle' || (!has(self.evaluation) && !has(self.lineage))",
            message="must have neither `lineage` nor `evaluation` with the format 'Pickle': runs publish ONNX alone",
            field_path=".format",
        ),
    )


class ConvertedArtifact(ApiModel):
    """The model directory that a Pickle became."""

    uri: StoreUri
    """Where its manifest is."""
    digest: Digest
    """Digest of the manifest."""
    bytes: Count64 = 0
    """Size of all its files."""


class Conversion(ApiModel):
    """How far a Pickle is on its way to ONNX."""

    attempt: Count32 = 0
    """Number of the newest attempt, from 1."""
    failures: Count32 = 0
    """Failed attempts that count against the limit; those that the store's absence caused do not."""
    last_failure_time: Time | None = None
    """When the newest attempt failed; the next one waits for some time."""
    artifact: ConvertedArtifact | None = None
    """What servers fetch; absent until it is there."""
    maximum_difference: Decimal | None = None
    """Greatest difference between the answers of both forms on the sample rows: absolute, or relative above 1."""
    rows: Count64 | None = None
    """Sample rows on which the answers were compared."""


class ModelVersionStatus(ApiModel):
    """What was observed of the version."""

    observed_generation: Count64 = 0
    """Generation that was last reconciled."""
    champion: Annotated[str, Field(max_length=3, pattern=r"^(Yes|No)$")] | None = None
    """Is it the champion of its model in this namespace?"""
    score: Annotated[str, Field(max_length=96)] | None = None
    """The deciding metric and its value, for display."""
    comparison: Annotated[str, Field(max_length=96)] | None = None
    """Which of the two is better, the version or the champion that it was judged against, and by how much, for display."""
    conversion: Conversion | None = None
    """How far a Pickle is on its way to ONNX; absent with other formats."""
    conditions: Conditions = ()
    """Ready, ArtifactAvailable, Converted (with the format Pickle), Accepted."""


class ModelVersion(CustomResource):
    """An immutable record of a model, bound to its bytes by digest."""

    plural = "modelversions"
    kind = "ModelVersion"
    short_names = ("mv",)
    columns = (
        PrinterColumn(name="Model", type="string", json_path=".spec.model", description="Model line"),
        PrinterColumn(name="Version", type="integer", json_path=".spec.version", description="Number of the version"),
        PrinterColumn(
            name="Format",
            type="string",
            json_path=".spec.format",
            description="Format of the bytes",
            priority=1,
        ),
        PrinterColumn(
            name="Accepted",
            type="string",
            json_path='.status.conditions[?(@.type=="Accepted")].reason',
            description="Outcome of the evaluation",
        ),
        PrinterColumn(
            name="Metric",
            type="string",
            json_path=".status.score",
            description="Metric that decided, and its value",
        ),
        PrinterColumn(
            name="Comparison",
            type="string",
            json_path=".status.comparison",
            description="Who is better, on the same rows, and by how much",
        ),
        PrinterColumn(name="Champion", type="string", json_path=".status.champion", description="Is it the champion?"),
    )

    spec: ModelVersionSpec
    """The record."""
    status: ModelVersionStatus = ModelVersionStatus()
    """What was observed of the version."""

    @property
    def served_artifact(self) -> "Artifact | ConvertedArtifact | None":
        """What servers fetch and verify; None for a Pickle that is not converted yet."""
        if self.spec.format is not Format.PICKLE:
            return self.spec.artifact
        return self.status.conversion.artifact if self.status.conversion else None

    rules = (
        Rule(
            rule="self.metadata.name.startsWith(self.spec.model + '-v')"
            " && self.metadata.name.substring(self.spec.model.size() + 2) == string(self.spec.version)",
            message="must be named '<model>-v<version>'",
        ),
    )
