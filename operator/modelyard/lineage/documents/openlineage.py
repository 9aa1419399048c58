"""`openlineage.jsonl`: OpenLineage 2.0.2 run events of a run and its steps, one a line, in the order of time."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modelyard.api.v1alpha1.names import CHAMPION_INPUT, MODEL_OUTPUT
from modelyard.api.v1alpha1.trainingrun import Output, ResolvedInput, Step
from modelyard.lineage.documents.subject import Subject
from modelyard.lineage.run import StepRecord
from modelyard.model.signature import Signature

PRODUCER: Final = "https://modelyard.dev/operator"
EVENT_SCHEMA: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS: Final = {
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "JobTypeJobFacet": "2-0-4",
    "DatasetVersionDatasetFacet": "1-0-1",
    "SchemaDatasetFacet": "1-2-0",
    "SymlinksDatasetFacet": "1-0-1",
    "InputStatisticsInputDatasetFacet": "1-0-0",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
}
_BLOB: Final = re.compile(r"blobs/sha256/[0-9a-f]{64}$")


@dataclass(frozen=True)
class _Dataset:
    """A dataset with the facets of either role."""

    namespace: str
    name: str
    facets: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, int] = field(default_factory=dict)
    """`size` in bytes and `rowCount`, as far as they are known."""

    def read(self) -> dict[str, Any]:
        known = _facet("InputStatisticsInputDatasetFacet", **self.statistics)
        return {**self._base(), **({"inputFacets": {"inputStatistics": known}} if self.statistics else {})}

    def written(self) -> dict[str, Any]:
        known = _facet("OutputStatisticsOutputDatasetFacet", **self.statistics)
        return {**self._base(), **({"outputFacets": {"outputStatistics": known}} if self.statistics else {})}

    def _base(self) -> dict[str, Any]:
        return {"namespace": self.namespace, "name": self.name, "facets": dict(self.facets)}


def render(subject: Subject) -> str:
    """Return the events: START and COMPLETE of each step within START and COMPLETE of the run."""
    lines = (json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in _events(subject))
    return "".join(f"{line}\n" for line in lines)


def _events(subject: Subject) -> Iterator[dict[str, Any]]:
    run, end = subject.run, subject.end_time
    if run.start_time is None or end is None:
        return  # an event must have a time
    known = _datasets(subject)
    read = [known[item.name].read() for item in run.inputs]
    whole = _run_of(subject), _job(subject, subject.record.model, "TRAINING_RUN")
    yield _event("START", run.start_time, whole, read, [])
    steps = {step.name: step for step in run.spec.steps}
    for done in run.steps:
        if done.start_time and done.completion_time:
            yield from _step_events(subject, steps[done.name], done, known)
    yield _event("COMPLETE", end, whole, read, [known[MODEL_OUTPUT].written()])


def _step_events(
    subject: Subject, step: Step, done: StepRecord, known: Mapping[str, _Dataset]
) -> Iterator[dict[str, Any]]:
    parent = _facet(
        "ParentRunFacet",
        run={"runId": run_id(subject.run.uid)},
        job={"namespace": subject.run.namespace, "name": subject.record.model},
    )
    run = _run_of(subject, step.name, parent=parent)
    own = run, _job(subject, f"{subject.record.model}.{step.name}", "STEP")
    read = [known[name].read() for name in step.inputs if name in known]
    written = [known[output.name].written() for output in done.outputs]
    yield _event("START", done.start_time or "", own, read, [])
    yield _event("COMPLETE", done.completion_time or "", own, read, written)


def run_id(uid: str) -> str:
    """Return the UUID of a run: its uid where that is one, else one made from it."""
    try:
        return str(uuid.UUID(uid))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://modelyard.dev/runs/{uid}"))


def dataset_name(uri: str) -> tuple[str, str]:
    """Return namespace and name of what a URI names, as OpenLineage's naming has them."""
    scheme, _, rest = uri.partition("://")
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority}" if authority else scheme, path.strip("/") or "/"


def _event(
    kind: str,
    time: str,
    of: tuple[Mapping[str, Any], Mapping[str, Any]],
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
) -> dict[str, Any]:
    run, job = of
    return {
        "eventType": kind,
        "eventTime": time,
        "producer": PRODUCER,
        "schemaURL": EVENT_SCHEMA,
        "run": run,
        "job": job,
        "inputs": inputs,
        "outputs": outputs,
    }


def _run_of(subject: Subject, step: str = "", **facets: Any) -> dict[str, Any]:
    engine = _facet("ProcessingEngineRunFacet", name="modelyard", version=subject.modelyard_version)
    uid = f"{subject.run.uid}/{step}" if step else subject.run.uid
    return {"runId": run_id(uid), "facets": {"processing_engine": engine, **facets}}


def _job(subject: Subject, name: str, kind: str) -> dict[str, Any]:
    job_type = _facet("JobTypeJobFacet", processingType="BATCH", integration="MODELYARD", jobType=kind)
    return {"namespace": subject.run.namespace, "name": name, "facets": {"jobType": job_type}}


def _datasets(subject: Subject) -> dict[str, _Dataset]:
    """Return all datasets by the names under which steps know them."""
    record = subject.record
    store = _BLOB.sub("", record.artifact.uri)
    outputs = [output for step in subject.run.steps for output in step.outputs]
    known = {item.name: _input(item) for item in subject.run.inputs}
    known |= {output.name: _output(output, f"{store}outputs/{record.model}/{output.name}") for output in outputs}
    model = Output(
        name=MODEL_OUTPUT, uri=record.artifact.uri, digest=record.artifact.digest, bytes=record.artifact.bytes
    )
    line = f"{store}models/{record.model}"
    known[MODEL_OUTPUT] = _output(model, line, str(record.version), schema=_schema(subject.signature))
    previous = record.lineage.previous_version if record.lineage else None
    if previous:
        namespace, name = dataset_name(line)
        known[CHAMPION_INPUT] = _Dataset(namespace, name, {"version": _version(str(previous))})
    return known


def _input(item: ResolvedInput) -> _Dataset:
    namespace, name = dataset_name(item.uri)
    rows = {} if item.rows is None else {"rowCount": item.rows}
    statistics = {**rows, "size": item.bytes}
    return _Dataset(namespace, name, {"version": _version(item.version or item.digest)}, statistics)


def _output(output: Output, place: str, version: str | None = None, **facets: Any) -> _Dataset:
    namespace, name = dataset_name(place)
    real_namespace, real_name = dataset_name(output.uri)
    identifiers = [{"namespace": real_namespace, "name": real_name, "type": "DIRECTORY"}]
    common = {
        "version": _version(version or output.digest),
        "symlinks": _facet("SymlinksDatasetFacet", identifiers=identifiers),
    }
    return _Dataset(namespace, name, {**common, **facets}, {"size": output.bytes})


def _version(version: str) -> dict[str, Any]:
    return _facet("DatasetVersionDatasetFacet", datasetVersion=version)


def _schema(signature: Signature) -> dict[str, Any]:
    inputs = [{"name": tensor.name, "type": tensor.datatype.value} for tensor in signature.inputs]
    outputs = [{"name": tensor.name, "type": tensor.datatype.value} for tensor in signature.outputs]
    return _facet("SchemaDatasetFacet", fields=inputs + outputs)


def _facet(facet: str, /, **content: Any) -> dict[str, Any]:
    url = f"https://openlineage.io/spec/facets/{_FACETS[facet]}/{facet}.json#/$defs/{facet}"
    return {"_producer": PRODUCER, "_schemaURL": url, **content}
