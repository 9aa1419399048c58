"""What `lineage`, `diff`, `reproduce` and `restore` do between the cluster, the store and the pure parts."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from modelyard.api.v1alpha1 import Deployment, ModelVersion, TrainingRun
from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.cli.cluster import Cluster, ClusterError, parse_reference
from modelyard.cli.compare import Row, Side, compare
from modelyard.cli.records import RecordsError, read_recorded, read_run, read_signature
from modelyard.cli.watch import changes
from modelyard.lineage.graph import Graph, Known, lineage_graph, parents_of
from modelyard.lineage.reproduction import REPRODUCES, Comparison, Reproduction, compare_results, reproduction
from modelyard.lineage.restoration import model_version
from modelyard.lineage.run import RunRecord
from modelyard.lineage.svg import to_svg
from modelyard.lineage.text import to_text

Say = Callable[[str], None]


class Drawing(StrEnum):
    """How a lineage is shown."""

    TEXT = "text"
    SVG = "svg"
    JSON = "json"


class Serialization(StrEnum):
    """How data is shown."""

    YAML = "yaml"
    JSON = "json"


class Listing(StrEnum):
    """How a list is shown."""

    TABLE = "table"
    JSON = "json"


def draw(graph: Graph, drawing: Drawing) -> str:
    """Return a lineage as text."""
    match drawing:
        case Drawing.TEXT:
            return to_text(graph)
        case Drawing.SVG:
            return to_svg(graph)
        case Drawing.JSON:
            return json.dumps(asdict(graph), indent=2) + "\n"


def recorded_lineage(location: str) -> Graph:
    """Return the lineage of a record alone, a file or an object of a store.

    Raises:
        RecordsError: it cannot be read.
    """
    recorded = read_recorded(location)
    return lineage_graph(Known(recorded.record, recorded.run))


def lineage_of(cluster: Cluster, reference: str, say: Say) -> Graph:
    """Return the lineage of a ModelVersion of the cluster.

    Raises:
        ClusterError: it cannot be read.
    """
    version = _version(cluster, reference)
    others = [other.spec for other in cluster.list(ModelVersion)]
    run = _optional_run(cluster, version, say)
    return lineage_graph(Known(version.spec, run, parents_of(version.spec, others), cluster.list(Deployment)))


def difference(cluster: Cluster, left: str, right: str, say: Say) -> list[Row]:
    """Return how two versions differ, with parameters and signatures as far as the store can be read.

    Raises:
        ClusterError: a version cannot be read.
    """
    return compare(_side(cluster, left, say), _side(cluster, right, say))


def repeat(cluster: Cluster, reference: str) -> "Repeat":
    """Return what there is to repeat.

    Raises:
        ClusterError: the version cannot be read.
        RecordsError: nothing is known of its run, neither in the cluster nor in the store.
    """
    version = _version(cluster, reference)
    run = _run(cluster, version)
    return Repeat(version.spec, run, reproduction(version.spec, run, cluster.namespace))


@dataclass(frozen=True)
class Repeat:
    """A model, the run that made it, and the run that repeats it."""

    record: ModelVersionSpec
    run: RunRecord
    reproduction: Reproduction

    def start(self, cluster: Cluster) -> bool:
        """Create the run and say whether that was done: False when it is there from before.

        Raises:
            ClusterError: it is refused, or another run has its name.
        """
        if cluster.create(TrainingRun, self.reproduction.manifest):
            return True
        existing = cluster.get(TrainingRun, self.reproduction.name)
        if existing.metadata.annotations.get(REPRODUCES) != self.record.artifact.digest:
            raise ClusterError(f"TrainingRun '{existing.metadata.name}' repeats something else; delete or rename it")
        return False

    def follow(
        self, cluster: Cluster, seconds: int, started: datetime, now: Iterator[datetime], say: Say
    ) -> bool | None:
        """Tell of the run's progress until it ends: well (True), badly (False), or not in time (None)."""
        ended: bool | None = None
        runs = cluster.watch(TrainingRun, self.reproduction.name, timeout_seconds=seconds)
        for line, ended in changes(runs, started=started, now=now):  # noqa: B007 - the last one counts
            say(line)
        return ended

    def compare(self, cluster: Cluster) -> Comparison:
        """Compare what the repeated run made, once it has ended well."""
        run = cluster.get(TrainingRun, self.reproduction.name)
        made = cluster.get(ModelVersion, run.status.model_version_name or "")
        return compare_results((self.record, self.run), (made.spec, RunRecord.of(run)))


@dataclass(frozen=True)
class Restored:
    """What became of the records of a store."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    conflicting: tuple[str, ...]
    """Names under which the cluster has other bytes."""


def restore(cluster: Cluster, records: Iterable[ModelVersionSpec]) -> Restored:
    """Create the ModelVersions that the cluster lacks; those that it has are left alone.

    Raises:
        ClusterError: one is refused.
    """
    created, existing, conflicting = [], [], []
    for record in records:
        manifest = model_version(record, cluster.namespace)
        name = manifest["metadata"]["name"]
        if cluster.create(ModelVersion, manifest):
            created.append(name)
        elif cluster.get(ModelVersion, name).spec.artifact.digest == record.artifact.digest:
            existing.append(name)
        else:
            conflicting.append(name)
    return Restored(tuple(created), tuple(existing), tuple(conflicting))


def report(comparison: Comparison) -> list[str]:
    """Return what a person needs to know of a repeated run, a sentence a line."""
    same = "the model is the same, bit for bit"
    other = f"the bytes of the model differ: {comparison.original_digest}, now {comparison.reproduced_digest}"
    lines = [same if comparison.bit_for_bit else other]
    lines += [f"{item.name}: {item.original}, now {item.reproduced}" for item in comparison.differences]
    equal = comparison.metrics - len(comparison.differences)
    lines.append(f"{equal} of {comparison.metrics} metrics are the same")
    lines += [f"step '{item.name}' ran in {item.original}, now in {item.reproduced}" for item in comparison.code]
    return lines


def _version(cluster: Cluster, reference: str) -> ModelVersion:
    kind, name = parse_reference(reference)
    if kind is not ModelVersion:
        raise ClusterError(f"'{reference}' must be a ModelVersion, such as mv/flight-delay-v1")
    return cluster.get(ModelVersion, name)


def _side(cluster: Cluster, reference: str, say: Say) -> Side:
    version = _version(cluster, reference)
    try:
        signature = read_signature(version.spec.artifact)
    except RecordsError as error:
        say(f"schema of {version.metadata.name}: only its digest is known: {error}")
        signature = None
    return Side(version, _optional_run(cluster, version, say), signature)


def _optional_run(cluster: Cluster, version: ModelVersion, say: Say) -> RunRecord | None:
    if version.spec.lineage is None:
        return None
    try:
        return _run(cluster, version)
    except RecordsError as error:
        say(f"parameters of {version.metadata.name}: only their digest is known: {error}")
        return None


def _run(cluster: Cluster, version: ModelVersion) -> RunRecord:
    """Return the run as the cluster has it, else as the store has it: runs may go, versions stay."""
    lineage = version.spec.lineage
    if lineage is None:
        raise RecordsError(f"ModelVersion '{version.metadata.name}' was registered by a person: no run made it")
    runs = cluster.list(TrainingRun) if lineage.training_run.namespace == cluster.namespace else []
    found = next((run for run in runs if run.metadata.uid == lineage.training_run.uid), None)
    return RunRecord.of(found) if found else read_run(version.spec)
