"""Pipeline: a recipe, and what makes it run again."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from modelyard.api.v1alpha1.common import (
    LIST_SET,
    ApiModel,
    Conditions,
    Count32,
    Count64,
    CustomResource,
    Digest,
    ItemName,
    Message,
    Person,
    PrinterColumn,
    ResourceName,
    Rule,
    Seconds,
    Time,
    list_map,
)
from modelyard.api.v1alpha1.names import MAX_DEPLOYMENT_NAME, MAX_PIPELINE_NAME
from modelyard.api.v1alpha1.trainingrun import CauseKey, CauseSource, TrainingRunSpec, TriggerKey, TriggerReason

RECENT_RUNS = 20
"""Runs that status remembers; the daily budget is counted from them."""
MAX_DEPLOYMENTS = 4

Limit = Annotated[int, Field(ge=0, le=RECENT_RUNS, json_schema_extra={"format": "int32"})]


class ConditionType(StrEnum):
    """Conditions of a Pipeline."""

    READY = "Ready"
    SCHEDULE_VALID = "ScheduleValid"
    INPUTS_OBSERVED = "InputsObserved"
    DEPLOYMENTS_WATCHED = "DeploymentsWatched"
    LAST_RUN_SUCCEEDED = "LastRunSucceeded"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Reasons of a Pipeline's conditions. Reasons of inputs that cannot be read (docs/contracts.md) may stand beside them."""

    WATCHING = "Watching"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    INVALID_SPEC = "InvalidSpec"
    VALID = "Valid"
    INVALID_SCHEDULE = "InvalidSchedule"
    OBSERVED = "Observed"
    OBSERVING = "Observing"
    NO_AGENT = "NoAgent"
    TENANT_MISMATCH = "TenantMismatch"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    NO_RUN = "NoRun"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETED = "Deleted"


class SkipReason(StrEnum):
    """Why a trigger did not start a run."""

    SUSPENDED = "Suspended"
    RUN_ACTIVE = "RunActive"
    COOLDOWN = "Cooldown"
    BUDGET_SPENT = "BudgetSpent"
    MISSED_SCHEDULE = "MissedSchedule"
    NOTHING_CHANGED = "NothingChanged"


class ConcurrencyPolicy(StrEnum):
    """What happens when a run is due while another one is active, as in a CronJob."""

    FORBID = "Forbid"
    REPLACE = "Replace"
    ALLOW = "Allow"


class SpecTrigger(StrEnum):
    """Whether a changed template starts a run."""

    ON_CHANGE = "OnChange"
    NEVER = "Never"


class InputsTrigger(ApiModel):
    """A changed digest of an input starts a run."""

    names: Annotated[tuple[ItemName, ...], Field(max_length=16, json_schema_extra=LIST_SET)] = ()
    """Inputs of the template that are watched; absent = all that have no `digest`."""
    poll_seconds: Annotated[int, Field(ge=10, le=86_400, json_schema_extra={"format": "int32"})] = 300
    """Seconds between two looks of the namespace's agent."""


class ScheduleTrigger(ApiModel):
    """Times at which a run starts."""

    cron: Annotated[str, Field(max_length=100, pattern=r"^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$")]
    """Minute, hour, day of month, month and day of week, separated by single spaces, as in cron."""
    time_zone: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")
    ] = "Etc/UTC"
    """Name in the IANA time zone database in which the times are meant."""
    starting_deadline_seconds: Seconds | None = None
    """Seconds after its time when a run that could not start is given up; absent = it starts when it may."""


class DeploymentCondition(StrEnum):
    """What may be wrong with a model in service."""

    INPUTS_DRIFTED = "InputsDrifted"
    ACCURACY_LOST = "AccuracyLost"


class DeploymentTrigger(ApiModel):
    """What a Deployment says about the model that it serves starts a run."""

    name: Annotated[ResourceName, Field(max_length=MAX_DEPLOYMENT_NAME)]
    """Name of the modelyard Deployment."""
    namespace: ResourceName
    """Its namespace; another one than the Pipeline's must carry the same label `modelyard.dev/tenant`."""
    on: Annotated[tuple[DeploymentCondition, ...], Field(min_length=1, max_length=2, json_schema_extra=LIST_SET)]
    """`InputsDrifted` = its condition `InputsStable` is False, `AccuracyLost` = its condition `AccuracyHeld` is False."""


_BY_NAMESPACE_AND_NAME: dict[str, Any] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["namespace", "name"],
}


class Triggers(ApiModel):
    """What starts a run. Triggers of one moment start one run together."""

    spec: SpecTrigger = SpecTrigger.ON_CHANGE
    """Whether the first and every changed template starts a run."""
    inputs: InputsTrigger | None = None
    """A changed digest of an input starts a run; absent = inputs are not watched."""
    schedule: ScheduleTrigger | None = None
    """Times at which a run starts."""
    deployments: Annotated[
        tuple[DeploymentTrigger, ...], Field(max_length=MAX_DEPLOYMENTS, json_schema_extra=_BY_NAMESPACE_AND_NAME)
    ] = ()
    """Deployments whose conditions start a run."""


LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]


class RunMetadata(ApiModel):
    """What the runs' metadata gets beside the Pipeline's own labels."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels of the runs; must not be in the domains `modelyard.dev`, `kubernetes.io` or `k8s.io`."""

    rules = (
        Rule(
            rule="!has(self.labels) || self.labels.all(k, k.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')"
            " && !k.matches('^([a-z0-9-]+[.])*(modelyard[.]dev|kubernetes[.]io|k8s[.]io)/'))",
            message="must have names of labels as keys, and none in the domains 'modelyard.dev', 'kubernetes.io' or 'k8s.io'",
            field_path=".labels",
        ),
    )


class RunTemplate(ApiModel):
    """What runs are made from."""

    metadata: RunMetadata = RunMetadata()
    """What the runs' metadata gets beside the Pipeline's own labels."""
    spec: TrainingRunSpec
    """What is run. Any change but to `suspend` and `ttlSecondsAfterFinished` is a change of code."""

    rules = (
        Rule(
            rule="!has(self.spec.trigger) && !has(self.spec.requestedBy)",
            message="must not set `trigger`, which each run gets, or `requestedBy`, which stands in the Pipeline's own spec",
            field_path=".spec",
        ),
    )


class PipelineSpec(ApiModel):
    """What is run, and when."""

    suspend: bool = False
    """No run starts while it is set; what happens meanwhile starts one run afterwards. An active run goes on."""
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.FORBID
    """What happens when a run is due while another is active: Forbid = it waits, Replace = the active one is deleted, Allow = both run."""
    successful_runs_history_limit: Limit = 5
    """Successful runs that are kept."""
    failed_runs_history_limit: Limit = 5
    """Failed runs that are kept."""
    triggers: Triggers = Triggers()
    """What starts a run."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=31_536_000, json_schema_extra={"format": "int32"})] = 0
    """Seconds after a run's start in which no other one starts. A changed template and a manual run do not wait."""
    max_runs_per_day: Annotated[int, Field(ge=1, le=RECENT_RUNS, json_schema_extra={"format": "int32"})] | None = None
    """Most runs that start within any 24 hours; absent = no limit. A manual run counts, but does not wait."""
    requested_by: Person | None = None
    """Who asks for the runs."""
    template: RunTemplate
    """What runs are made from."""

    rules = (
        Rule(
            rule="!has(self.triggers) || !has(self.triggers.inputs) || (has(self.template.spec.inputs) && self.template.spec.inputs.exists(i, !has(i.digest))"
            " && (!has(self.triggers.inputs.names) || self.triggers.inputs.names.all(n, self.template.spec.inputs.exists(i, i.name == n && !has(i.digest)))))",
            message="must name in `triggers.inputs.names` only entries of `template.spec.inputs` without a `digest`, of which there must be one",
            field_path=".triggers.inputs",
        ),
    )


class RunResult(StrEnum):
    """Where a run stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETED = "Deleted"


class RecentRun(ApiModel):
    """One run of the Pipeline."""

    name: ResourceName
    """Name of the TrainingRun."""
    trigger_key: TriggerKey
    """Key of what started it."""
    reason: TriggerReason
    """What started it, or the first of several causes."""
    start_time: Time
    """When it was made."""
    result: RunResult
    """Where it stands; Deleted = somebody deleted it before its end."""
    model_version_name: ResourceName | None = None
    """The ModelVersion that it made."""


class WatchedInput(ApiModel):
    """An input that is watched."""

    name: ItemName
    """Name of the input."""
    digest: Digest | None = None
    """What the agent last saw."""
    observed_time: Time | None = None
    """When that digest was first seen."""
    trained_digest: Digest | None = None
    """What the newest run that has resolved its inputs reads."""


class Handled(ApiModel):
    """The last cause of one source that needs no run any more."""

    source: CauseSource
    """Where causes come from: `spec`, `manual`, `schedule`, `inputs/<name>`, `deployments/<namespace>/<name>/<reason>`."""
    key: CauseKey
    """The cause: a digest, a token, a time, a transition."""


class Skipped(ApiModel):
    """A trigger that did not start a run, or not yet."""

    reason: SkipReason
    """Why, for programs."""
    message: Message
    """What was skipped, why, and when it starts after all."""
    time: Time
    """When that was decided."""


class PipelineStatus(ApiModel):
    """What was observed of the Pipeline."""

    observed_generation: Count64 = 0
    """Generation that was last reconciled."""
    runs: Count32 = 0
    """How many runs were made."""
    recent_runs: Annotated[tuple[RecentRun, ...], Field(max_length=RECENT_RUNS, json_schema_extra=list_map())] = ()
    """The newest runs, newest first."""
    last_run_time: Time | None = None
    """When the newest run was made."""
    last_version_name: ResourceName | None = None
    """The newest ModelVersion that a run made."""
    inputs: Annotated[tuple[WatchedInput, ...], Field(max_length=16, json_schema_extra=list_map())] = ()
    """The inputs that are watched."""
    handled: Annotated[tuple[Handled, ...], Field(max_length=32, json_schema_extra=list_map("source"))] = ()
    """What needs no run any more, by source."""
    skipped: Skipped | None = None
    """The last trigger that did not start a run, or not yet."""
    next_schedule_time: Time | None = None
    """When the schedule's next run is due."""
    conditions: Conditions = ()
    """Ready, ScheduleValid, InputsObserved, DeploymentsWatched, LastRunSucceeded."""


class Pipeline(CustomResource):
    """A recipe for TrainingRuns, and what makes it run again."""

    plural = "pipelines"
    kind = "Pipeline"
    short_names = ("mpl",)
    columns = (
        PrinterColumn(name="Runs", type="integer", json_path=".status.runs", description="Runs that were made"),
        PrinterColumn(
            name="Last Run", type="date", json_path=".status.lastRunTime", description="When the newest run was made"
        ),
        PrinterColumn(
            name="Last Version",
            type="string",
            json_path=".status.lastVersionName",
            description="Newest version that a run made",
        ),
        PrinterColumn(
            name="Next",
            type="string",
            json_path=".status.nextScheduleTime",
            description="When the schedule's next run is due",
        ),
    )

    spec: PipelineSpec
    """What is run, and when."""
    status: PipelineStatus = PipelineStatus()
    """What was observed of the Pipeline."""

    rules = (
        Rule(
            rule=f"self.metadata.name.size() <= {MAX_PIPELINE_NAME} && !self.metadata.name.contains('.')",
            message=f"must have a name of at most {MAX_PIPELINE_NAME} characters without dots, so that the names of its runs' Jobs fit",
        ),
    )
