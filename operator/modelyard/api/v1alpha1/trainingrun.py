"""TrainingRun: one run of ordered steps that publishes one version of a model."""

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
    Decimal,
    Digest,
    ImageName,
    InputUri,
    ItemName,
    Message,
    Metrics,
    NamedDecimal,
    Percent,
    Person,
    PodTemplate,
    PrinterColumn,
    Quantity,
    ResourceName,
    ResourceRequirements,
    Rule,
    Seconds,
    StoreUri,
    Time,
    list_map,
)
from modelyard.api.v1alpha1.names import MAX_MODEL_NAME, MAX_NODES, MAX_RUN_NAME, MAX_STEP_NAME, STEP_ACCESS_PREFIX

StepName = Annotated[str, Field(min_length=1, max_length=MAX_STEP_NAME, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_MODEL_NAME, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
RowCount = Annotated[int, Field(ge=0, le=1_000_000_000_000, json_schema_extra={"format": "int64"})]

StepAccessName = Annotated[
    str, Field(min_length=1, max_length=63, pattern=rf"^{STEP_ACCESS_PREFIX}[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]


class ConditionType(StrEnum):
    """Conditions of a TrainingRun."""

    READY = "Ready"
    ADMITTED = "Admitted"
    INPUTS_RESOLVED = "InputsResolved"
    SUCCEEDED = "Succeeded"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Reasons of a TrainingRun's conditions. Reasons of a failed pod (docs/contracts.md) may stand beside them."""

    SUCCEEDED = "Succeeded"
    RUNNING = "Running"
    FAILED = "Failed"
    ADMITTED = "Admitted"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    RESOLVED = "Resolved"
    RESOLVING = "Resolving"
    NO_AGENT = "NoAgent"
    INPUT_NOT_FOUND = "InputNotFound"
    DIGEST_MISMATCH = "DigestMismatch"
    INVALID_SPEC = "InvalidSpec"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    STEP_FAILED = "StepFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    CONFIGURATION_MISSING = "ConfigurationMissing"
    POD_REFUSED = "PodRefused"
    RESULT_MISSING = "ResultMissing"
    JOB_DELETED = "JobDeleted"
    POD_DELETED = "PodDeleted"
    CONFLICT = "Conflict"
    CHAMPION_MOVED = "ChampionMoved"
    DATA_INVALID = "DataInvalid"


class CachePolicy(StrEnum):
    """Whether a step may take over what an earlier run made."""

    AUTO = "Auto"
    NEVER = "Never"


class Component(StrEnum):
    """Built-in steps, by versioned name."""

    TABULAR_PREPARE = "tabular/prepare@v1"
    TABULAR_TRAIN = "tabular/train@v1"


class InputMode(StrEnum):
    """How an input reaches the steps."""

    FETCH = "Fetch"
    REFERENCE = "Reference"


class ColumnType(StrEnum):
    """What the values of a column are."""

    NUMBER = "Number"
    INTEGER = "Integer"
    TEXT = "Text"
    BOOLEAN = "Boolean"
    TIME = "Time"


class ColumnExpectation(ApiModel):
    """What must hold of one column, which must be there."""

    name: ColumnName
    """Name of the column."""
    type: ColumnType | None = None
    """What every value must be. A whole number is a Number too, and 3.0 is an Integer; absent = anything."""
    nullable: bool = True
    """May values be missing?"""
    maximum_missing_percent: Percent | None = None
    """Most missing values allowed, in percent of the rows; absent = `maximumMissingPercent` of the input."""
    minimum: Decimal | None = None
    """Least number allowed."""
    maximum: Decimal | None = None
    """Greatest number allowed."""
    categories: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(max_length=64, json_schema_extra=LIST_SET),
    ] = ()
    """The only values allowed, as text; absent or empty = any."""
    unique: bool = False
    """Must no value be there twice? Exact up to a million distinct values, beyond that judged by a sample of them."""

    rules = (
        Rule(
            rule="!has(self.minimum) || !has(self.maximum) || double(self.minimum) <= double(self.maximum)",
            message="must have a `minimum` of at most `maximum`",
            field_path=".minimum",
        ),
        Rule(
            rule="!has(self.type) || self.type in ['Number', 'Integer'] || (!has(self.minimum) && !has(self.maximum))",
            message="must have the `type` Number or Integer, or none, when `minimum` or `maximum` is set",
            field_path=".type",
        ),
        Rule(
            rule="!has(self.type) || self.type in ['Text', 'Integer', 'Boolean'] || !has(self.categories)",
            message="must have the `type` Text, Integer or Boolean, or none, when `categories` is set",
            field_path=".type",
        ),
        Rule(
            rule="!has(self.nullable) || self.nullable || !has(self.maximumMissingPercent)",
            message="must not set `maximumMissingPercent` when `nullable` is false, which allows no missing value",
            field_path=".maximumMissingPercent",
        ),
    )


class SchemaReference(StrEnum):
    """What the columns are compared with."""

    SAME_AS_PREVIOUS = "SameAsPrevious"
    DECLARED = "Declared"


class NewColumnPolicy(StrEnum):
    """What a column that the reference does not have means."""

    ALLOW = "Allow"
    FAIL = "Fail"


class Expectations(ApiModel):
    """What must hold of an input's rows before any step runs; with nothing set they are only profiled."""

    minimum_rows: RowCount | None = None
    """Least number of rows."""
    maximum_rows: RowCount | None = None
    """Greatest number of rows."""
    maximum_missing_percent: Percent | None = None
    """Most missing values allowed in any column, in percent of the rows."""
    maximum_duplicate_percent: Percent | None = None
    """Most rows allowed that repeat another row, in percent of the rows."""
    time_column: ColumnName | None = None
    """Column with the time of each row."""
    maximum_age_seconds: Seconds | None = None
    """Greatest age of the newest row by `timeColumn`, in seconds."""
    schema_: Annotated[SchemaReference | None, Field(alias="schema")] = None
    """What the columns are compared with. SameAsPrevious: the newest run of the model that succeeded, if there is one; no column of it may be gone, of another type, empty now, or hold the values of another column. Declared: `columns`."""
    on_new_columns: NewColumnPolicy = NewColumnPolicy.ALLOW
    """What a column that `schema` does not have means."""
    columns: Annotated[tuple[ColumnExpectation, ...], Field(max_length=256, json_schema_extra=list_map())] = ()
    """What must hold of single columns."""

    rules = (
        Rule(
            rule="!has(self.minimumRows) || !has(self.maximumRows) || self.minimumRows <= self.maximumRows",
            message="must have a `minimumRows` of at most `maximumRows`",
            field_path=".minimumRows",
        ),
        Rule(
            rule="has(self.timeColumn) == has(self.maximumAgeSeconds)",
            message="must set `timeColumn` and `maximumAgeSeconds` together",
        ),
        Rule(
            rule="!has(self.schema) || self.schema != 'Declared' || (has(self.columns) && self.columns.size() > 0)",
            message="must list `columns` when `schema` is Declared",
            field_path=".columns",
        ),
        Rule(
            rule="!has(self.onNewColumns) || self.onNewColumns == 'Allow' || has(self.schema)",
            message="must set `schema` when `onNewColumns` is Fail",
            field_path=".onNewColumns",
        ),
    )


class Input(ApiModel):
    """Data or code that the run reads."""

    name: ItemName
    """Name under which steps ask for it, and of its folder."""
    uri: InputUri
    """An object, everything under a prefix when it ends in `/`, or `git+https://host/repository@ref`: a branch, tag or commit."""
    digest: Digest | None = None
    """What it must hash to; absent = what is found is recorded in status."""
    mode: InputMode = InputMode.FETCH
    """Fetch = its files are brought to the steps and verified; Reference = steps get `.reference.json` with its place, digest and version, and read it themselves."""
    expectations: Expectations | None = None
    """What must hold of its rows; absent = they are not looked at. Tables only: Parquet, CSV, JSON lines."""

    rules = (
        Rule(
            rule="!has(self.expectations) || self.name != 'previous'",
            message="must not be 'previous' when `expectations` is set",
            field_path=".name",
        ),
        Rule(
            rule="!has(self.expectations) || !has(self.mode) || self.mode == 'Fetch'",
            message="must have the `mode` Fetch when `expectations` is set, since its rows are read",
            field_path=".mode",
        ),
        Rule(
            rule="self.name != 'champion' && self.name != 'model'",
            message="must not be 'champion' or 'model'",
            field_path=".name",
        ),
    )


class Parameter(ApiModel):
    """A value that the steps read."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")]
    """Name of the parameter."""
    value: Annotated[str, Field(max_length=4096)]
    """Value of the parameter."""


class EnvironmentVariable(ApiModel):
    """An environment variable of the user's container."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of the variable; must not begin with `MODELYARD_`."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Value of the variable."""

    rules = (
        Rule(
            rule="!self.name.startsWith('MODELYARD_')",
            message="must not begin with 'MODELYARD_'",
            field_path=".name",
        ),
    )


class StepAccessReference(ApiModel):
    """A Secret or ConfigMap of this namespace that is meant for steps."""

    name: StepAccessName
    """Its name; must begin with `modelyard-step-`."""


class EnvironmentSource(ApiModel):
    """Where further environment variables of the user's container come from, as in a container."""

    prefix: Annotated[str, Field(max_length=128, pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """What is put before the name of each variable."""
    secret_ref: StepAccessReference | None = None
    """All keys of a Secret; exactly one of `secretRef` and `configMapRef`."""
    config_map_ref: StepAccessReference | None = None
    """All keys of a ConfigMap; exactly one of `secretRef` and `configMapRef`."""

    rules = (
        Rule(
            rule="has(self.secretRef) != has(self.configMapRef)",
            message="must set exactly one of `secretRef` and `configMapRef`",
        ),
    )


class StepPodTemplate(PodTemplate):
    """What may be said about a step's pods."""

    service_account_name: StepAccessName | None = None
    """ServiceAccount of the pods, for image pull secrets and a cloud's workload identity; must begin with `modelyard-step-`. Its token is never mounted. Absent = `modelyard-step`."""
    shared_memory: Quantity | None = None
    """Size of `/dev/shm`; absent = the container runtime's default."""
    workspace: Quantity | None = None
    """Most that the step may write to its workspace; absent = the node's limit."""


class ProgressMode(StrEnum):
    """When what a step says of itself is read."""

    AT_END = "AtEnd"
    LIVE = "Live"


class CheckpointSpec(ApiModel):
    """How a step's checkpoints are kept, so that what takes its pod away costs little work."""

    interval_seconds: Annotated[int, Field(ge=1, le=86_400, json_schema_extra={"format": "int32"})] = 300
    """Least seconds between two uploads."""
    grace_period_seconds: Annotated[int, Field(ge=1, le=3_600, json_schema_extra={"format": "int32"})] = 30
    """Seconds that the program gets for a last checkpoint when its pod is taken away; the upload gets as long again."""


class Step(ApiModel):
    """One step: a Job that reads inputs, runs a command and publishes outputs."""

    name: StepName
    """Name of the step."""
    uses: Component | None = None
    """Built-in component; exactly one of `uses` and `image`."""
    image: ImageName | None = None
    """The user's own image; exactly one of `uses` and `image`."""
    command: Annotated[
        tuple[Annotated[str, Field(max_length=4096)], ...],
        Field(max_length=64, json_schema_extra=LIST_ATOMIC),
    ] = ()
    """Entrypoint, as in a container; absent = the image's."""
    args: Annotated[
        tuple[Annotated[str, Field(max_length=4096)], ...],
        Field(max_length=64, json_schema_extra=LIST_ATOMIC),
    ] = ()
    """Arguments, as in a container."""
    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=64, json_schema_extra=list_map())] = ()
    """Environment variables, as in a container."""
    env_from: Annotated[tuple[EnvironmentSource, ...], Field(max_length=8, json_schema_extra=LIST_ATOMIC)] = ()
    """Secrets and ConfigMaps whose keys become environment variables, as in a container; `env` wins. Their content is not known to Modelyard, so the step always runs."""
    working_dir: Annotated[str, Field(max_length=1024, pattern=r"^/")] | None = None
    """Working directory, as in a container."""
    inputs: Annotated[tuple[ItemName, ...], Field(max_length=16, json_schema_extra=LIST_SET)] = ()
    """Names from `spec.inputs`, outputs of earlier steps, or `champion`: the champion's model directory, absent while there is none."""
    outputs: Annotated[tuple[ItemName, ...], Field(max_length=8, json_schema_extra=LIST_SET)] = ()
    """Folders that the step writes and Modelyard keeps; `model` is the one that is published as a version."""
    resources: ResourceRequirements = ResourceRequirements()
    """Resources of the user's container."""
    cache: CachePolicy = CachePolicy.AUTO
    """Auto = the outputs of an earlier run of the same model are taken over when all that decides them is the same; Never = the step always runs."""
    num_nodes: Annotated[int, Field(ge=1, le=MAX_NODES, json_schema_extra={"format": "int32"})] = 1
    """Pods that run the command together; with more than one, each knows its `RANK`, and the one with rank 0 publishes the outputs."""
    backoff_limit: Annotated[int, Field(ge=0, le=20, json_schema_extra={"format": "int32"})] = 2
    """How often a failed attempt is tried again; lost nodes and preemption do not count."""
    active_deadline_seconds: Seconds | None = None
    """Most seconds that one attempt may take; absent = none."""
    checkpoint: CheckpointSpec | None = None
    """Keeps what the program leaves in its checkpoint folder, and brings it back to the next pod; absent = nothing is kept."""
    progress: ProgressMode = ProgressMode.AT_END
    """Live: a sidecar reads what the program says of its progress, which is in status some seconds later."""
    pod_template: StepPodTemplate = StepPodTemplate()
    """What may be said about the step's pods."""

    rules = (
        Rule(rule="has(self.uses) != has(self.image)", message="must set exactly one of `uses` and `image`"),
        Rule(
            rule="has(self.image) || (!has(self.command) && !has(self.args) && !has(self.workingDir))",
            message="must set `image` when `command`, `args` or `workingDir` is set",
        ),
        Rule(
            rule="has(self.image) || !has(self.numNodes) || self.numNodes == 1",
            message="must set `image` when `numNodes` is more than 1: built-in components run in one pod",
        ),
        Rule(
            rule="self.name != 'register' && self.name != 'validate'",
            message="must not be 'register' or 'validate', the names of the steps that Modelyard adds",
            field_path=".name",
        ),
    )


class Goal(StrEnum):
    """Which direction of a metric is better."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class Metric(StrEnum):
    """Metrics that Modelyard computes itself."""

    ROC_AUC = "rocAuc"
    AVERAGE_PRECISION = "averagePrecision"
    LOG_LOSS = "logLoss"
    BRIER_SCORE = "brierScore"
    EXPECTED_CALIBRATION_ERROR = "expectedCalibrationError"
    ACCURACY = "accuracy"
    BALANCED_ACCURACY = "balancedAccuracy"
    F1 = "f1"
    PRECISION = "precision"
    RECALL = "recall"
    MEAN_ABSOLUTE_ERROR = "meanAbsoluteError"
    MEAN_ABSOLUTE_PERCENTAGE_ERROR = "meanAbsolutePercentageError"
    ROOT_MEAN_SQUARED_ERROR = "rootMeanSquaredError"
    R2 = "r2"


MetricName = Annotated[str, Field(min_length=1, max_length=54, pattern=r"^[A-Za-z][A-Za-z0-9_.@/-]*$")]
"""A metric of Modelyard's, or one that a step reports; `champion.` before it fits a metric's name too."""
_METRICS = f"[{', '.join(repr(metric.value) for metric in Metric)}]"
_METRIC_NAMES = ", ".join(metric.value for metric in Metric)


class Threshold(ApiModel):
    """A bound that the new model must keep, whatever the champion does."""

    metric: MetricName
    """Metric that is bounded."""
    minimum: Decimal | None = None
    """Least value allowed."""
    maximum: Decimal | None = None
    """Greatest value allowed."""

    rules = (Rule(rule="has(self.minimum) || has(self.maximum)", message="must set `minimum`, `maximum` or both"),)


class Slice(ApiModel):
    """A column by whose values the rows are judged group by group."""

    column: ColumnName
    """Column of the judged rows."""
    maximum_regression: Decimal
    """How much worse than the champion any group may be."""
    minimum_rows: Annotated[int, Field(ge=1, le=1_000_000_000, json_schema_extra={"format": "int32"})] = 50
    """Groups of fewer rows are reported, but not judged: they differ by chance."""


class Judge(StrEnum):
    """Who computes the numbers by which a model is judged."""

    MODELYARD = "Modelyard"
    STEP = "Step"


class EvaluationSpec(ApiModel):
    """How the new model is judged against the champion, on the same rows."""

    by: Judge = Judge.MODELYARD
    """Modelyard scores both models itself; Step = a step reports `<metric>` and, while there is a champion, `champion.<metric>`."""
    dataset: (
        Annotated[str, Field(max_length=200, pattern=r"^[a-z0-9][-a-z0-9]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")] | None
    ) = None
    """Output, and path in it, that holds the judged rows; with `by: Step` its digest is recorded, when it is set."""
    metric: MetricName
    """Metric that decides."""
    goal: Goal
    """Which direction of the metric is better."""
    minimum_improvement: Decimal = "0"
    """How much better than the champion the model must be; 0 = better at all, negative = how much worse it may be."""
    minimum_rows: Annotated[int, Field(ge=1, le=1_000_000_000, json_schema_extra={"format": "int32"})] | None = None
    """Least number of judged rows; absent = 100."""
    thresholds: Annotated[tuple[Threshold, ...], Field(max_length=8, json_schema_extra=list_map("metric"))] = ()
    """Bounds that hold even for the first version."""
    slices: Annotated[tuple[Slice, ...], Field(max_length=8, json_schema_extra=list_map("column"))] = ()
    """Groups of rows of which none may become much worse."""

    rules = (
        Rule(
            rule="self.by == 'Step' || has(self.dataset)",
            message="must set `dataset` unless `by` is 'Step'",
        ),
        Rule(
            rule=f"self.by == 'Step' || self.metric in {_METRICS}",
            message=f"must be one of {_METRIC_NAMES} unless `by` is 'Step'",
            field_path=".metric",
        ),
        Rule(
            rule=f"self.by == 'Step' || !has(self.thresholds) || self.thresholds.all(t, t.metric in {_METRICS})",
            message=f"must have in each `metric` one of {_METRIC_NAMES} unless `by` is 'Step'",
            field_path=".thresholds",
        ),
        Rule(
            rule="self.by != 'Step' || (!has(self.minimumRows) && !has(self.slices))",
            message="must set neither `minimumRows` nor `slices` when `by` is 'Step': Modelyard sees none of its rows",
        ),
    )


class TriggerReason(StrEnum):
    """What starts a run; the most telling of several causes is named first."""

    MANUAL = "Manual"
    SPEC_CHANGED = "SpecChanged"
    CODE_CHANGED = "CodeChanged"
    DATA_CHANGED = "DataChanged"
    ACCURACY_LOST = "AccuracyLost"
    INPUTS_DRIFTED = "InputsDrifted"
    SCHEDULE = "Schedule"


TriggerKey = Annotated[str, Field(max_length=16, pattern=r"^[0-9a-f]{16}$")]
CauseSource = Annotated[str, Field(min_length=1, max_length=144, pattern=r"^[a-z]+(/[A-Za-z0-9-]+)*$")]
CauseKey = Annotated[str, Field(min_length=1, max_length=96)]


class Cause(ApiModel):
    """One of the causes of a run."""

    reason: TriggerReason
    """Kind of cause."""
    source: CauseSource
    """Where it comes from: `spec`, `manual`, `schedule`, `inputs/<name>`, `deployments/<namespace>/<name>/<reason>`."""
    key: CauseKey
    """What tells it from other causes of that source: a digest, a token, a time, a transition."""
    message: Annotated[str, Field(max_length=256)]
    """What happened, for people."""


class RunTrigger(ApiModel):
    """Why a run was made."""

    reason: TriggerReason
    """The first of its causes."""
    key: TriggerKey
    """What tells it from all other triggers of its Pipeline."""
    number: Annotated[int, Field(ge=1, le=2_147_483_647, json_schema_extra={"format": "int32"})]
    """Which of the Pipeline's runs it is, from 1."""
    message: Message = ""
    """What happened, for people."""
    evidence: Annotated[tuple[Cause, ...], Field(max_length=32, json_schema_extra=LIST_ATOMIC)] = ()
    """All causes."""


class TrainingRunSpec(ApiModel):
    """What is run. Immutable after creation, `suspend` and `ttlSecondsAfterFinished` aside."""

    model: ModelName
    """Model line; the run publishes `<model>-v<n>`."""
    trigger: RunTrigger | None = None
    """Why a Pipeline made the run; absent = a person made it."""
    requested_by: Person | None = None
    """Who asked for the run."""
    inputs: Annotated[tuple[Input, ...], Field(max_length=16, json_schema_extra=list_map())] = ()
    """Data and code that the run reads."""
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=64, json_schema_extra=list_map())] = ()
    """Values that the steps read."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647, json_schema_extra={"format": "int32"})] = 0
    """Seed of all randomness in the steps."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=16, json_schema_extra=list_map())]
    """Steps, in order."""
    evaluation: EvaluationSpec | None = None
    """How the model is judged; absent = it is recorded without being judged."""
    backoff_limit: Annotated[int, Field(ge=0, le=100, json_schema_extra={"format": "int32"})] = 3
    """How many failed attempts of all steps together are tried again."""
    active_deadline_seconds: Seconds | None = None
    """Most seconds that the run may take, counted while it is neither suspended nor in a queue; absent = none."""
    ttl_seconds_after_finished: (
        Annotated[int, Field(ge=0, le=31_536_000, json_schema_extra={"format": "int32"})] | None
    ) = None
    """Seconds after its end when the run is deleted; absent = kept. Versions stay."""
    suspend: bool = False
    """No step runs while it is set; a running step is stopped and starts again later."""

    mutable = frozenset({"suspend", "ttlSecondsAfterFinished"})
    rules = (
        Rule(
            rule="self.steps.all(n, s, !has(s.inputs) || s.inputs.all(i, i == 'champion' || (has(self.inputs) && self.inputs.exists(x, x.name == i))"
            " || self.steps.exists(m, t, m < n && has(t.outputs) && i in t.outputs)))",
            message="must name in `steps[*].inputs` only entries of `inputs`, outputs of earlier steps, or 'champion'",
            field_path=".steps",
        ),
        Rule(
            rule="!has(self.inputs) || self.steps.all(s, !has(s.uses) || !has(s.inputs)"
            " || s.inputs.all(i, !self.inputs.exists(x, x.name == i && has(x.mode) && x.mode == 'Reference')))",
            message="must give a step with `uses` no input with the mode 'Reference': built-in steps read files",
            field_path=".steps",
        ),
        Rule(
            rule="self.steps.all(s, !has(s.outputs) || s.outputs.all(o, o != 'champion' && (!has(self.inputs) || !self.inputs.exists(x, x.name == o))"
            " && self.steps.filter(t, has(t.outputs) && o in t.outputs).size() == 1))",
            message="must give each output a name that no input and no other step's output has, and not 'champion'",
            field_path=".steps",
        ),
        Rule(
            rule="!has(self.evaluation) || !has(self.evaluation.dataset) || self.steps.exists(s, has(s.outputs) && s.outputs.exists(o, self.evaluation.dataset.split('/')[0] == o))",
            message="must name an output of a step in `evaluation.dataset`",
            field_path=".evaluation.dataset",
        ),
        Rule(
            rule="!has(self.evaluation) || self.steps.exists(s, has(s.outputs) && 'model' in s.outputs)",
            message="must have a step with the output 'model' when `evaluation` is set",
            field_path=".evaluation",
        ),
    )


class StepState(StrEnum):
    """Where a step stands."""

    WAITING = "Waiting"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CACHED = "Cached"


DONE = frozenset({StepState.SUCCEEDED, StepState.CACHED})
"""States of a step that need not run any more."""


class Output(ApiModel):
    """What a step published."""

    name: ItemName
    """Name of the output."""
    uri: StoreUri
    """Where its manifest is."""
    digest: Digest
    """Digest of the manifest."""
    bytes: Count64
    """Size of all its files."""


class CacheCandidate(ApiModel):
    """What an earlier run made of a step of the same identity."""

    training_run: ResourceName
    """The run that ran the step."""
    time: Time
    """Since when the agent is asked whether the outputs are still in the store."""
    image: ImageName | None = None
    """Image that ran."""
    outputs: Annotated[tuple[Output, ...], Field(max_length=8, json_schema_extra=list_map())] = ()
    """What the step published."""
    metrics: Metrics = ()
    """Metrics that it reported."""


class StepStatus(ApiModel):
    """Where a step stands."""

    name: StepName
    """Name of the step."""
    state: StepState
    """State of the step."""
    job_name: ResourceName | None = None
    """Job of the newest attempt."""
    attempt: Count32 = 0
    """Number of the newest attempt, from 1."""
    failures: Count32 = 0
    """Failed attempts that count against the limits; those that the store's absence or a lost pod caused do not."""
    resumes: Count32 | None = None
    """How often the step went on from a checkpoint, over all attempts; absent when it keeps none."""
    lost_seconds: Count32 | None = None
    """Seconds of work that were done again, because they came after the last checkpoint; absent when it keeps none."""
    start_time: Time | None = None
    """When the newest attempt started."""
    completion_time: Time | None = None
    """When the newest attempt ended."""
    image: ImageName | None = None
    """Image that ran, by digest where the node knew it."""
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")] | None = None
    """Why the newest attempt failed or does not get on, for programs."""
    message: Message | None = None
    """What a person needs to know, such as the last lines of a failed attempt."""
    identity: Digest | None = None
    """Digest of all that decides the step's result; steps of the same identity need not run twice."""
    candidate: CacheCandidate | None = None
    """What may be taken over, while the agent is asked whether it is still there."""
    taken_from: ResourceName | None = None
    """The run that ran the step, when it is Cached."""
    outputs: Annotated[tuple[Output, ...], Field(max_length=8, json_schema_extra=list_map())] = ()
    """What the step published."""


class ResolvedInput(ApiModel):
    """What an input was when the run started."""

    name: ItemName
    """Name of the input."""
    uri: InputUri
    """Where it was read."""
    digest: Digest
    """What it hashed to."""
    version: Annotated[str, Field(max_length=256)] | None = None
    """Version in the store, commit, or version of a Delta Lake or Iceberg table, where there is one."""
    bytes: Count64 = 0
    """Size."""
    rows: Count64 | None = None
    """Number of rows, where the files or the table tell it."""


class StepMetric(NamedDecimal):
    """A metric, and the step that reported it last."""

    step: StepName | None = None
    """Name of the step."""


class RunProgress(ApiModel):
    """What the step that runs says of itself."""

    percentage: Annotated[int, Field(ge=0, le=100, json_schema_extra={"format": "int32"})] | None = None
    """How much of the step is done."""
    estimated_remaining_seconds: Count32 | None = None
    """Seconds that are left of the step if it goes on as fast as so far."""
    metrics: Metrics = ()
    """Its metrics so far."""
    last_update_time: Time
    """When it said so."""


class TrainingRunStatus(ApiModel):
    """What was observed of the run."""

    observed_generation: Count64 = 0
    """Generation that was last reconciled."""
    start_time: Time | None = None
    """When the run was first looked at while not suspended; its deadline counts from here."""
    completion_time: Time | None = None
    """When the run ended."""
    suspended_time: Time | None = None
    """Since when the run is suspended, or waits in a queue."""
    suspended_seconds: Count32 = 0
    """How long the run was suspended, or waited in a queue, before; it does not count against the deadline."""
    inputs: Annotated[tuple[ResolvedInput, ...], Field(max_length=16, json_schema_extra=list_map())] = ()
    """What the inputs were when the run started."""
    step: StepName | None = None
    """The step that runs or ran last, for display."""
    steps: Annotated[tuple[StepStatus, ...], Field(max_length=18, json_schema_extra=list_map())] = ()
    """Where each step stands."""
    progress: RunProgress | None = None
    """What the step that runs says of itself; absent when it says nothing or `progress` is not `Live`."""
    metrics: Annotated[tuple[StepMetric, ...], Field(max_length=16, json_schema_extra=list_map())] = ()
    """Metrics of the result."""
    model_version_name: ResourceName | None = None
    """The ModelVersion that the run makes, reserved before it is made; or the one that it would have made anew."""
    conditions: Conditions = ()
    """Ready, Admitted, InputsResolved, Succeeded."""


class TrainingRun(CustomResource):
    """One run of ordered steps that publishes one version of a model."""

    plural = "trainingruns"
    kind = "TrainingRun"
    short_names = ("trun",)
    columns = (
        PrinterColumn(name="Model", type="string", json_path=".spec.model", description="Model line"),
        PrinterColumn(name="Step", type="string", json_path=".status.step", description="Step that runs or ran last"),
        PrinterColumn(
            name="Progress",
            type="integer",
            json_path=".status.progress.percentage",
            description="How much of the step that runs is done, in percent",
        ),
        PrinterColumn(
            name="Trigger",
            type="string",
            json_path=".spec.trigger.reason",
            description="Why a Pipeline made the run",
        ),
        PrinterColumn(
            name="Version",
            type="string",
            json_path=".status.modelVersionName",
            description="Version that the run makes",
        ),
        PrinterColumn(
            name="Started",
            type="date",
            json_path=".status.startTime",
            description="When the run started",
            priority=1,
        ),
        PrinterColumn(
            name="Completed",
            type="date",
            json_path=".status.completionTime",
            description="When the run ended",
            priority=1,
        ),
    )

    spec: TrainingRunSpec
    """What is run."""
    status: TrainingRunStatus = TrainingRunStatus()
    """What was observed of the run."""

    rules = (
        Rule(
            rule=f"self.metadata.name.size() <= {MAX_RUN_NAME} && !self.metadata.name.contains('.')",
            message=f"must have a name of at most {MAX_RUN_NAME} characters without dots, so that the names of its Jobs fit",
        ),
    )
