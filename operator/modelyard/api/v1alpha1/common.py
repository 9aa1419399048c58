"""Building blocks of every kind: the base model, bounded scalars, lists with a list type, CEL rules, conditions."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DECIMAL = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$"
PERCENT = r"^(100(\.0{1,6})?|[0-9]{1,2}(\.[0-9]{1,6})?)$"
SHA256 = r"^sha256:[0-9a-f]{64}$"
STORE_URI = r"^(s3|gs|az|https|file)://[^\s?#]+$"
INPUT_URI = r"^((s3|gs|az|https|file)://[^\s?#]+|git\+https://[^\s?#@]+@[A-Za-z0-9][A-Za-z0-9._/+-]*)$"


class ApiModel(BaseModel):
    """A part of an object. Unknown fields are ignored on reading, since a newer operator may have written them."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple["Rule", ...]] = ()
    """CEL rules that the API server checks on this object."""
    mutable: ClassVar[frozenset[str] | None] = None
    """JSON names of the fields that may change after creation; None = every field may."""


class Rule(BaseModel):
    """One CEL rule of a CRD (`x-kubernetes-validations`)."""

    model_config = ConfigDict(frozen=True)

    rule: str
    message: str
    field_path: str | None = None


def list_map(key: str = "name") -> dict[str, Any]:
    """Schema of a list of named objects, merged by `key`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


LIST_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}

ResourceName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ItemName = Annotated[str, Field(min_length=1, max_length=40, pattern=DNS_LABEL)]
Decimal = Annotated[str, Field(max_length=32, pattern=DECIMAL)]
Percent = Annotated[str, Field(max_length=10, pattern=PERCENT)]
Digest = Annotated[str, Field(max_length=71, pattern=SHA256)]
StoreUri = Annotated[str, Field(max_length=1024, pattern=STORE_URI)]
InputUri = Annotated[str, Field(max_length=1024, pattern=INPUT_URI)]
ImageName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$")]
Message = Annotated[str, Field(max_length=1024)]
Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]
Person = Annotated[str, Field(min_length=1, max_length=253)]
VersionNumber = Annotated[int, Field(ge=1, le=9_999_999, json_schema_extra={"format": "int32"})]
Count32 = Annotated[int, Field(ge=0, le=2_147_483_647, json_schema_extra={"format": "int32"})]
Count64 = Annotated[int, Field(ge=0, le=9_007_199_254_740_991, json_schema_extra={"format": "int64"})]
Seconds = Annotated[int, Field(ge=1, le=31_536_000, json_schema_extra={"format": "int32"})]
Quantity = Annotated[
    int | str,
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        }
    ),
]


class ConditionStatus(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """An observation of one aspect of the object, as everywhere in Kubernetes."""

    type: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    """Type of the condition."""
    status: ConditionStatus
    """Status of the condition."""
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Reason for the status, for programs."""
    message: Message = ""
    """What a person needs to know or do."""
    last_transition_time: Time
    """When the status last changed."""
    observed_generation: Count64 = 0
    """Generation of the object that the condition speaks of."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=list_map("type"))]


class NamedDecimal(ApiModel):
    """A named number."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the number."""
    value: Decimal
    """The number, as a decimal string."""


Metrics = Annotated[tuple[NamedDecimal, ...], Field(max_length=16, json_schema_extra=list_map())]


class TolerationOperator(StrEnum):
    """How a toleration matches a taint."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """Effect of a taint."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """A toleration, as in a Pod."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """Taint key; absent with operator Exists matches every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """How the taint is matched."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Taint value."""
    effect: TaintEffect | None = None
    """Taint effect; absent matches all effects."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000, json_schema_extra={"format": "int64"})] | None = None
    """How long a NoExecute taint is tolerated."""


StringMap = Annotated[Mapping[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)]


class SelectorOperator(StrEnum):
    """How a label selector compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class NodeSelectorOperator(StrEnum):
    """How a node selector compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValues = Annotated[
    tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=64, json_schema_extra=LIST_ATOMIC)
]
Weight = Annotated[int, Field(ge=1, le=100, json_schema_extra={"format": "int32"})]


class NodeSelectorRequirement(ApiModel):
    """A comparison of one label of a node."""

    key: LabelKey
    """Label key."""
    operator: NodeSelectorOperator
    """How the values are compared."""
    values: LabelValues = ()
    """Values; none with Exists and DoesNotExist, one number with Gt and Lt."""


class NodeSelectorTerm(ApiModel):
    """A set of nodes."""

    match_expressions: Annotated[
        tuple[NodeSelectorRequirement, ...], Field(min_length=1, max_length=16, json_schema_extra=LIST_ATOMIC)
    ]
    """All of them must hold."""


class NodeSelector(ApiModel):
    """Nodes of any of some sets."""

    node_selector_terms: Annotated[
        tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=16, json_schema_extra=LIST_ATOMIC)
    ]
    """One of them must match."""


class PreferredSchedulingTerm(ApiModel):
    """A set of nodes that is preferred."""

    weight: Weight
    """How much a match counts."""
    preference: NodeSelectorTerm
    """The set."""


class NodeAffinity(ApiModel):
    """Which nodes the pods may or should run on, as in a Pod."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Where they may run."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredSchedulingTerm, ...], Field(max_length=16, json_schema_extra=LIST_ATOMIC)
    ] = ()
    """Where they should run."""


class LabelSelectorRequirement(ApiModel):
    """A comparison of one label."""

    key: LabelKey
    """Label key."""
    operator: SelectorOperator
    """How the values are compared."""
    values: LabelValues = ()
    """Values; none with Exists and DoesNotExist."""


class LabelSelector(ApiModel):
    """A set of objects by their labels."""

    match_labels: StringMap | None = None
    """Labels that they must have."""
    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...], Field(max_length=16, json_schema_extra=LIST_ATOMIC)
    ] = ()
    """Comparisons that must all hold."""


class PodAffinityTerm(ApiModel):
    """Pods of this namespace near which, or far from which, the pods run."""

    label_selector: LabelSelector
    """Those pods."""
    topology_key: LabelKey
    """Label whose nodes of one value are near each other, such as `kubernetes.io/hostname`."""


class WeightedPodAffinityTerm(ApiModel):
    """Pods near which, or far from which, the pods should run."""

    weight: Weight
    """How much a match counts."""
    pod_affinity_term: PodAffinityTerm
    """Those pods."""


class PodAffinity(ApiModel):
    """Which pods the pods may or should be near to or far from, as in a Pod."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...], Field(max_length=16, json_schema_extra=LIST_ATOMIC)
    ] = ()
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedPodAffinityTerm, ...], Field(max_length=16, json_schema_extra=LIST_ATOMIC)
    ] = ()
    """What should hold."""


class Affinity(ApiModel):
    """Where the pods run, as in a Pod."""

    node_affinity: NodeAffinity | None = None
    """By nodes."""
    pod_affinity: PodAffinity | None = None
    """Near pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Far from pods."""


class ResourceRequirements(ApiModel):
    """Compute resources, as in a container."""

    requests: Annotated[Mapping[str, Quantity], Field(max_length=16)] | None = None
    """Least amount of each resource that the container needs."""
    limits: Annotated[Mapping[str, Quantity], Field(max_length=16)] | None = None
    """Most of each resource that the container may use; GPUs go here."""


class PodTemplate(ApiModel):
    """What may be said about the pods that run for this object."""

    node_selector: StringMap | None = None
    """Labels that the node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16, json_schema_extra=LIST_ATOMIC)] = ()
    """Taints that the pods tolerate."""
    affinity: Affinity | None = None
    """Nodes and other pods that the pods keep near to or away from."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """PriorityClass of the pods."""
    runtime_class_name: Annotated[str, Field(max_length=253)] | None = None
    """RuntimeClass of the pods."""
    labels: StringMap | None = None
    """Labels added to the pods; must not be in the domains `modelyard.dev`, `kubernetes.io` or `k8s.io`."""
    annotations: StringMap | None = None
    """Annotations added to the pods."""

    rules = (
        Rule(
            rule="!has(self.labels) || self.labels.all(k, !k.matches('^([a-z0-9-]+[.])*(modelyard[.]dev|kubernetes[.]io|k8s[.]io)/'))",
            message="must not set labels in the domains 'modelyard.dev', 'kubernetes.io' or 'k8s.io'",
            field_path=".labels",
        ),
    )


class ObjectMeta(ApiModel):
    """The parts of an object's metadata that Modelyard reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class PrinterColumn(BaseModel):
    """One column of `kubectl get`."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: Literal["string", "integer", "date"]
    json_path: str
    description: str
    priority: int = 0


READY_COLUMNS = (
    PrinterColumn(
        name="Ready",
        type="string",
        json_path='.status.conditions[?(@.type=="Ready")].status',
        description="Is it as the spec asks?",
    ),
    PrinterColumn(
        name="Reason",
        type="string",
        json_path='.status.conditions[?(@.type=="Ready")].reason',
        description="Why it is ready or not",
    ),
)
LAST_COLUMNS = (
    PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp", description="Since when it exists"),
    PrinterColumn(
        name="Message",
        type="string",
        json_path='.status.conditions[?(@.type=="Ready")].message',
        description="What to know or do",
        priority=1,
    ),
)


class Scale(BaseModel):
    """Where `kubectl scale` and autoscalers read and write."""

    model_config = ConfigDict(frozen=True)

    spec_replicas_path: str
    status_replicas_path: str
    label_selector_path: str


class CustomResource(ApiModel):
    """A whole object of one of our kinds. Subclasses say what the CRD says."""

    plural: ClassVar[str]
    kind: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]] = ()
    categories: ClassVar[tuple[str, ...]] = ("modelyard",)
    """What `kubectl get` may call it together with others."""
    columns: ClassVar[tuple[PrinterColumn, ...]] = ()
    """Domain columns between Ready, Reason and Age, Message."""
    scale: ClassVar[Scale | None] = None
    """The scale subresource, for kinds that have one."""

    metadata: ObjectMeta
