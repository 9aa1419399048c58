"""Deployment: follows a ModelVersion and serves it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelyard.api.v1alpha1.common import (
    LIST_ATOMIC,
    LIST_SET,
    ApiModel,
    Conditions,
    Count32,
    Count64,
    CustomResource,
    Digest,
    Message,
    PodTemplate,
    PrinterColumn,
    ResourceRequirements,
    Rule,
    Scale,
    Seconds,
    Time,
    VersionNumber,
)
from modelyard.api.v1alpha1.names import MAX_DEPLOYMENT_NAME
from modelyard.api.v1alpha1.trainingrun import ModelName


class ConditionType(StrEnum):
    """Conditions of a Deployment."""

    READY = "Ready"
    MODEL_RESOLVED = "ModelResolved"
    AVAILABLE = "Available"
    ROLLED_OUT = "RolledOut"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Reasons of a Deployment's conditions. Reasons of a failed pod (docs/contracts.md) may stand beside them."""

    SERVING = "Serving"
    RESOLVED = "Resolved"
    VERSION_NOT_FOUND = "VersionNotFound"
    DIGEST_MISMATCH = "DigestMismatch"
    NO_CHAMPION = "NoChampion"
    RETIRED = "Retired"
    ARTIFACT_UNAVAILABLE = "ArtifactUnavailable"
    CONVERTING = "Converting"
    NOT_CONVERTED = "NotConverted"
    COMPLETED = "Completed"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    NO_READY_REPLICAS = "NoReadyReplicas"
    SCALED_TO_ZERO = "ScaledToZero"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    CONFIGURATION_MISSING = "ConfigurationMissing"
    OUT_OF_MEMORY = "OutOfMemory"
    CRASH_LOOP = "CrashLoop"
    POD_REFUSED = "PodRefused"
    CONFLICT = "Conflict"
    INVALID_SPEC = "InvalidSpec"


class Alias(StrEnum):
    """Names that move from version to version."""

    CHAMPION = "champion"


class ModelReference(ApiModel):
    """Which version is wanted."""

    name: ModelName
    """Model line."""
    version: VersionNumber | None = None
    """Number of the version; exactly one of `version` and `alias`."""
    alias: Alias | None = None
    """Follow the champion; exactly one of `version` and `alias`."""
    digest: Digest | None = None
    """What the version's bytes must hash to."""

    rules = (
        Rule(
            rule="has(self.version) != has(self.alias)",
            message="must set exactly one of `version` and `alias`",
        ),
        Rule(
            rule="!has(self.digest) || has(self.version)",
            message="must set `version` when `digest` is set",
            field_path=".digest",
        ),
    )


RuntimeVersion = Annotated[
    str, Field(max_length=128, pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64})$")
]


class Protocol(StrEnum):
    """Protocols of the model server: the Open Inference Protocol V2 over HTTP/1.1 and over gRPC."""

    REST = "REST"
    GRPC = "GRPC"


class Tls(ApiModel):
    """Where certificates come from."""

    secret_name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]
    """Secret of the type `kubernetes.io/tls` in this namespace; a renewed one is used without a restart."""


class Endpoint(ApiModel):
    """How the model is served online."""

    rules = (
        Rule(
            rule="!has(self.protocols) || 'REST' in self.protocols",
            message="must have REST among `protocols`, which health checks need",
            field_path=".protocols",
        ),
    )

    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] = 1
    """Number of pods."""
    resources: ResourceRequirements = ResourceRequirements()
    """Resources of each model server."""
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1, max_length=2, json_schema_extra=LIST_SET)] = ()
    """REST, on port 80 of the Service (443 with `tls`), and GRPC if it is listed, on port 9000; absent = REST."""
    tls: Tls | None = None
    """Serve all protocols over TLS; absent = in the clear."""
    runtime_version: RuntimeVersion | None = None
    """Tag or digest of the model server's image; absent = the operator's, recorded at the first roll-out so that an operator upgrade restarts nothing."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600, json_schema_extra={"format": "int32"})] = 10
    """Most seconds that a request may take."""
    max_request_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824, json_schema_extra={"format": "int32"})] = (
        16_777_216
    )
    """Largest request body."""
    max_rows: Annotated[int, Field(ge=1, le=10_000_000, json_schema_extra={"format": "int32"})] = 65536
    """Most rows of one request."""
    pod_template: PodTemplate = PodTemplate()
    """What may be said about the pods."""


class Rollout(ApiModel):
    """How one revision follows another."""

    progress_deadline_seconds: Seconds = 600
    """Seconds after which a revision that is not ready is reported as stuck; the old one goes on serving."""
    revision_history_limit: Annotated[int, Field(ge=0, le=20, json_schema_extra={"format": "int32"})] = 3
    """Old revisions that are kept, scaled to zero."""
    paused: bool = False
    """No new revision is started while it is set."""


class PredictionLog(ApiModel):
    """A sample of requests and answers, kept in the store. What it holds may be personal data."""

    sample_percent: Annotated[int, Field(ge=1, le=100, json_schema_extra={"format": "int32"})]
    """Share of the requests that are logged, with all their rows."""
    columns: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
        Field(max_length=256, json_schema_extra=LIST_SET),
    ] = ()
    """Inputs that are logged; absent = all. Outputs are always logged."""


class Monitoring(ApiModel):
    """What is kept of the traffic."""

    prediction_log: PredictionLog | None = None
    """Log predictions, so that labels that come late can be joined to them; absent = no prediction is kept."""


class DeploymentSpec(ApiModel):
    """What is served, and how."""

    model: ModelReference
    """Which version is wanted."""
    endpoint: Endpoint = Endpoint()
    """How it is served online."""
    rollout: Rollout = Rollout()
    """How one revision follows another."""
    monitoring: Monitoring = Monitoring()
    """What is kept of the traffic; it applies to the pods as they are, without a new revision."""


Revision = Annotated[str, Field(max_length=10, pattern=r"^[0-9a-f]{10}$")]


class ServedModel(ApiModel):
    """A version in a revision."""

    name: ModelName
    """Model line."""
    version: VersionNumber
    """Number of the version."""
    digest: Digest
    """Digest of its bytes."""
    revision: Revision
    """Revision that serves it."""


class Candidate(ApiModel):
    """The revision that is being rolled out."""

    version: VersionNumber
    """Number of the version."""
    digest: Digest
    """Digest of its bytes."""
    revision: Revision
    """Its revision."""
    start_time: Time
    """Since when it is being rolled out."""


class HistoryEntry(ApiModel):
    """What served when."""

    name: ModelName
    """Model line."""
    version: VersionNumber
    """Number of the version."""
    digest: Digest
    """Digest of its bytes."""
    revision: Revision
    """Revision that served it."""
    from_time: Time
    """Since when it served."""
    reason: Message = ""
    """Why it came."""


class DeploymentStatus(ApiModel):
    """What was observed of the Deployment."""

    observed_generation: Count64 = 0
    """Generation that was last reconciled."""
    url: Annotated[str, Field(max_length=256)] | None = None
    """Where the model is served inside the cluster."""
    wanted: VersionNumber | None = None
    """Version that the spec resolves to."""
    runtime_version: RuntimeVersion | None = None
    """Version of the model server's image, recorded at the first roll-out."""
    model: ServedModel | None = None
    """What serves now."""
    candidate: Candidate | None = None
    """What is being rolled out."""
    replicas: Count32 = 0
    """Pods of the serving revision."""
    ready_replicas: Count32 = 0
    """Ready pods of the serving revision."""
    selector: Annotated[str, Field(max_length=256)] | None = None
    """Label selector of the pods, for `kubectl scale` and autoscalers."""
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=20, json_schema_extra=LIST_ATOMIC)] = ()
    """What served when, newest first."""
    conditions: Conditions = ()
    """Ready, ModelResolved, Available, RolledOut."""


class Deployment(CustomResource):
    """Follows a ModelVersion and serves it."""

    plural = "deployments"
    kind = "Deployment"
    short_names = ("mdep",)
    columns = (
        PrinterColumn(name="Model", type="string", json_path=".spec.model.name", description="Model line"),
        PrinterColumn(
            name="Wanted",
            type="integer",
            json_path=".status.wanted",
            description="Version that the spec resolves to",
        ),
        PrinterColumn(
            name="Serving",
            type="integer",
            json_path=".status.model.version",
            description="Version that serves",
        ),
        PrinterColumn(
            name="Candidate",
            type="integer",
            json_path=".status.candidate.version",
            description="Version that is being rolled out",
        ),
        PrinterColumn(
            name="URL",
            type="string",
            json_path=".status.url",
            description="Where it is served inside the cluster",
        ),
    )

    scale = Scale(
        spec_replicas_path=".spec.endpoint.replicas",
        status_replicas_path=".status.replicas",
        label_selector_path=".status.selector",
    )

    spec: DeploymentSpec
    """What is served, and how."""
    status: DeploymentStatus = DeploymentStatus()
    """What was observed of the Deployment."""

    rules = (
        Rule(
            rule=f"self.metadata.name.size() <= {MAX_DEPLOYMENT_NAME} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            message=f"must have a name of at most {MAX_DEPLOYMENT_NAME} lower case letters, digits and dashes that begins with a letter, so that the names of its children fit",
        ),
    )
