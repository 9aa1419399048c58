"""The lineage of a model as a graph: what it was made from, how it was judged, and where it serves. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from modelyard.api.v1alpha1.deployment import Deployment, DeploymentStatus
from modelyard.api.v1alpha1.modelversion import Lineage, ModelVersionSpec
from modelyard.api.v1alpha1.names import model_version_name
from modelyard.lineage.run import RunRecord

MAX_PARENTS: Final = 10


class NodeKind(StrEnum):
    """What a node stands for."""

    DATA = "Data"
    CODE = "Code"
    PARAMETERS = "Parameters"
    RUN = "TrainingRun"
    MODEL_VERSION = "ModelVersion"
    EVALUATION = "Evaluation"
    DEPLOYMENT = "Deployment"


@dataclass(frozen=True)
class Node:
    """One thing, with the facts that tell it from others of its kind."""

    id: str
    kind: NodeKind
    title: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Edge:
    """The source came before the target."""

    source: str
    target: str
    label: str
    """What is said of the end that is nearer to the root, such as "made by"."""


@dataclass(frozen=True)
class Graph:
    """The nodes around one version."""

    root: str
    """Id of the version."""
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def node(self, identifier: str) -> Node:
        """Return a node."""
        return next(node for node in self.nodes if node.id == identifier)


@dataclass(frozen=True)
class Known:
    """All that is known of a version; only the record must be."""

    record: ModelVersionSpec
    run: RunRecord | None = None
    parents: Sequence[ModelVersionSpec] = ()
    """Champions before it, newest first, as far as they still exist."""
    deployments: Sequence[Deployment] = ()
    """Deployments of the namespace, in any order."""


@dataclass
class _Builder:
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def add(self, kind: NodeKind, name: str, title: str, facts: Iterable[tuple[str, str | None]] = ()) -> str:
        identifier = f"{kind.value}/{name}"
        known = tuple((label, value) for label, value in facts if value)
        self.nodes.append(Node(identifier, kind, title, known))
        return identifier

    def link(self, source: str, target: str, label: str) -> None:
        self.edges.append(Edge(source, target, label))


def lineage_graph(known: Known) -> Graph:
    """Return the lineage of a version."""
    build, record = _Builder(), known.record
    root = _add_version(build, record)
    if record.lineage:
        _add_origin(build, root, record.lineage, known.run)
    _add_evaluation(build, root, record)
    _add_parents(build, root, known)
    _add_deployments(build, root, known)
    return Graph(root, tuple(build.nodes), tuple(build.edges))


def parents_of(record: ModelVersionSpec, versions: Iterable[ModelVersionSpec]) -> tuple[ModelVersionSpec, ...]:
    """Return the champions before a version, newest first, as far as they exist, at most MAX_PARENTS."""
    line = {version.version: version for version in versions if version.model == record.model}
    return tuple(found for found, _ in zip(_chain(record, line), range(MAX_PARENTS), strict=False))


def _chain(record: ModelVersionSpec, line: dict[int, ModelVersionSpec]) -> Iterator[ModelVersionSpec]:
    current = record
    while True:
        previous = current.lineage.previous_version if current.lineage else None
        if previous is None or previous >= current.version or previous not in line:
            return
        current = line[previous]
        yield current


def _add_version(build: _Builder, record: ModelVersionSpec) -> str:
    name = model_version_name(record.model, record.version)
    evaluation = record.evaluation
    facts = (
        ("digest", record.artifact.digest),
        ("bytes", str(record.artifact.bytes) if record.artifact.bytes else None),
        ("schema", record.artifact.schema_digest),
        ("verdict", evaluation.verdict.value if evaluation else "not judged"),
        ("owner", record.card.owner),
        ("asked for by", record.card.requested_by),
        ("retired", record.retired.reason if record.retired else None),
    )
    return build.add(NodeKind.MODEL_VERSION, name, name, facts)


def _add_origin(build: _Builder, root: str, lineage: Lineage, run: RunRecord | None) -> None:
    made_by = lineage.training_run
    facts = (
        ("namespace", made_by.namespace),
        ("uid", made_by.uid),
        ("started", run.start_time if run else None),
        ("run.json", lineage.run_digest),
    )
    node = build.add(NodeKind.RUN, made_by.name, made_by.name, facts)
    build.link(node, root, "made by")
    resolved = {item.name: item for item in run.inputs} if run else {}
    for item in lineage.inputs:
        found = resolved.get(item.name)
        details = (
            ("uri", item.uri),
            ("digest", item.digest),
            ("version", item.version),
            ("rows", str(found.rows) if found and found.rows is not None else None),
            ("bytes", str(found.bytes) if found and found.bytes else None),
        )
        build.link(build.add(NodeKind.DATA, item.name, item.name, details), node, "reads")
    for code in lineage.code:
        image, _, digest = code.image.partition("@")
        what = (("image", image), ("digest", digest))
        build.link(build.add(NodeKind.CODE, code.step, code.step, what), node, "runs")
    parameters = run.parameters.items() if run else ()
    values = (("digest", lineage.parameters_digest), ("seed", str(lineage.seed)), *parameters)
    title = f"{len(parameters)} parameters" if run else "parameters"
    build.link(build.add(NodeKind.PARAMETERS, "parameters", title, values), node, "with")


def _add_evaluation(build: _Builder, root: str, record: ModelVersionSpec) -> None:
    evaluation = record.evaluation
    if evaluation is None:
        return
    interval = f"{evaluation.low} … {evaluation.high}" if evaluation.low and evaluation.high else None
    champion = evaluation.champion
    facts = (
        ("judged by", str(evaluation.by)),
        (str(evaluation.metric), evaluation.value or "not defined"),
        ("95 % interval", interval),
        ("rows", str(evaluation.rows) if evaluation.rows else None),
        ("judged rows", evaluation.dataset_digest),
        ("champion then", f"v{champion.version}: {champion.value}" if champion else None),
    )
    node = build.add(NodeKind.EVALUATION, "evaluation", evaluation.verdict.value, facts)
    build.link(node, root, "judged")


def _add_parents(build: _Builder, root: str, known: Known) -> None:
    child = root
    for parent in known.parents:
        node = _add_version(build, parent)
        build.link(node, child, "follows")
        child = node
    last = known.parents[-1] if known.parents else known.record
    missing = last.lineage.previous_version if last.lineage else None
    if missing and len(known.parents) < MAX_PARENTS:
        name = model_version_name(last.model, missing)
        facts = (("record", "not here"),)
        build.link(build.add(NodeKind.MODEL_VERSION, name, name, facts), child, "follows")


def _add_deployments(build: _Builder, root: str, known: Known) -> None:
    for deployment in sorted(known.deployments, key=lambda item: item.metadata.name):
        label = _relation(deployment.status, known.record)
        if label is None:
            continue
        name = deployment.metadata.name
        facts = (("namespace", deployment.metadata.namespace), ("url", deployment.status.url))
        build.link(root, build.add(NodeKind.DEPLOYMENT, name, name, facts), label)


def _relation(status: DeploymentStatus, record: ModelVersionSpec) -> str | None:
    if status.model and (status.model.name, status.model.version) == (record.model, record.version):
        return "serves in"
    if status.candidate and status.candidate.digest == record.artifact.digest:
        return "is rolled out to"
    if any((entry.name, entry.version) == (record.model, record.version) for entry in status.history):
        return "served in"
    return None
