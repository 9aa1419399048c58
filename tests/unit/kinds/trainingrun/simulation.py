"""A small cluster in memory: the operator's real reading, deciding and writing against a pretended API server.

Jobs, pods, agents and time move only when told to. Any write can be the last one before a crash, and caches learn of
changes only when told to, apart from the operator's own writes.
"""

import asyncio
import copy
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, cast

from modelyard.api.v1alpha1.champion import champion
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import (
    API_VERSION,
    GROUP,
    LABEL_QUEUE,
    LABEL_STEP,
    PROFILE_OUTPUT,
    REGISTER_STEP,
    VALIDATE_STEP,
    VERSION,
    observation_name,
)
from modelyard.controller.engine.apply import Writer
from modelyard.controller.engine.conditions import find_condition, timestamp
from modelyard.controller.engine.errors import ReconcileError
from modelyard.controller.engine.events import EVENTS, Recorder
from modelyard.controller.engine.kube import ApiError, KubeClient, Page
from modelyard.controller.engine.manifests import Manifest, Ref, ResourceType, TypeTable, name_of
from modelyard.controller.engine.plan import Event
from modelyard.controller.engine.store import Store, Stores
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, lines_of
from modelyard.controller.kinds.owned import OWNER_INDEX, owners_of
from modelyard.controller.kinds.stepjob import Images
from modelyard.controller.kinds.trainingrun.decide import is_finished
from modelyard.controller.kinds.trainingrun.earlier import IDENTITY_INDEX, identities_of
from modelyard.controller.kinds.trainingrun.observe import CONFIG_MAPS, TrainingRuns
from tests.unit.kinds.trainingrun.builders import typed

NAMESPACE = "air"
INDEX = "batch.kubernetes.io/job-completion-index"
_UIDS = itertools.count(1)
RUNS = ResourceType(GROUP, VERSION, "trainingruns", "TrainingRun")
VERSIONS = ResourceType(GROUP, VERSION, "modelversions", "ModelVersion")
OBSERVATIONS = ResourceType(GROUP, VERSION, "observations", "Observation")
JOBS = ResourceType("batch", "v1", "jobs", "Job")
PODS = ResourceType("", "v1", "pods", "Pod")
SERVICES = ResourceType("", "v1", "services", "Service")


def writer_of(client: KubeClient, stores: Iterable[Store], recorder: object, now: Callable[[], datetime]) -> Writer:
    """The operator's own writer, on a pretended API server."""
    return Writer(
        client,
        field_manager="modelyard-operator",
        stores=Stores(stores),
        recorder=cast(Recorder, recorder),
        now=now,
    )


def digest(*parts: object) -> str:
    return "sha256:" + sha256(repr(parts).encode()).hexdigest()


class CrashError(Exception):
    """The operator's process ends here."""


@dataclass
class Api:
    """Stands in for KubeClient. Stored objects are shared, so nobody may change them."""

    types: TypeTable = field(
        default_factory=lambda: TypeTable.of(RUNS, VERSIONS, OBSERVATIONS, JOBS, PODS, SERVICES, EVENTS, CONFIG_MAPS)
    )
    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    version: int = 0
    writes: int = 0
    faults: list[str] = field(default_factory=list)
    """What happens to the next writes: '' nothing, 'before'/'after' a crash, 'refused' and 'lost' a failed call."""
    on_create: Callable[[Manifest], None] = lambda _: None

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        await asyncio.sleep(0)
        assert namespace == NAMESPACE
        if (resource.kind, name) not in self.objects:
            raise ApiError(404, "NotFound", f"{resource.plural} '{name}' not found")
        return self.objects[resource.kind, name]

    async def list_pages(
        self, resource: ResourceType, namespace: str | None = None, *, label_selector: str = "", limit: int = 0
    ) -> AsyncIterator[Page]:
        await asyncio.sleep(0)
        wanted = dict(part.split("=") for part in label_selector.split(",") if part)
        found = [m for (kind, _), m in self.objects.items() if kind == resource.kind]
        matching = [m for m in found if wanted.items() <= m["metadata"].get("labels", {}).items()]
        yield Page(matching, str(self.version))

    async def create(self, manifest: Manifest, *, field_manager: str) -> Manifest:
        key = (manifest["kind"], name_of(manifest))

        def change() -> Manifest:
            if key in self.objects:
                raise ApiError(409, "AlreadyExists", f"{key} exists")
            self.on_create(manifest)
            return self.put(manifest)

        return await self._write(change)

    async def apply(self, manifest: Manifest, *, field_manager: str, subresource: str = "") -> Manifest:
        key = (manifest["kind"], name_of(manifest))

        def change() -> Manifest:
            live = self.objects.get(key)
            if live is None:
                raise ApiError(404, "NotFound", f"{key} not found")
            for name in ("uid", "resourceVersion"):
                if name in manifest["metadata"] and manifest["metadata"][name] != live["metadata"][name]:
                    raise ApiError(409, "Conflict", f"{key}: {name}")
            metadata = {**live["metadata"]}
            metadata["annotations"] = metadata.get("annotations", {}) | manifest["metadata"].get("annotations", {})
            changed = {**live, "metadata": metadata}
            if subresource == "status":
                changed["status"] = manifest["status"]
            elif manifest["kind"] == "Job":
                assert LABEL_QUEUE not in live["metadata"]["labels"], "what Kueue starts and stops is not ours to apply"
                changed["spec"] = live["spec"] | manifest["spec"]
            else:
                changed["data"] = manifest["data"]
            return self.put(changed)

        return await self._write(change)

    async def delete(self, ref: Ref, *, propagation: str = "Background") -> Manifest:
        def change() -> Manifest:
            live = self.objects.get((ref.kind, ref.name))
            if live is None:
                raise ApiError(404, "NotFound", "gone")
            if ref.uid and live["metadata"]["uid"] != ref.uid:
                raise ApiError(409, "Conflict", "another one")
            self.remove(live)
            return {"kind": "Status"}

        return await self._write(change)

    def put(self, manifest: Manifest) -> Manifest:
        """Store an object, as the API server or another client would."""
        self.version += 1
        stored = copy.deepcopy(manifest)
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"uid-{next(_UIDS)}")
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(self.version)
        self.objects[stored["kind"], metadata["name"]] = stored
        return stored

    def remove(self, manifest: Manifest) -> None:
        """Delete an object and what it controls."""
        self.version += 1
        del self.objects[manifest["kind"], name_of(manifest)]
        uid = manifest["metadata"]["uid"]
        for child in list(self.objects.values()):
            if any(owner["uid"] == uid for owner in child["metadata"].get("ownerReferences", ())):
                self.remove(child)

    async def _write(self, change: Callable[[], Manifest]) -> Manifest:
        await asyncio.sleep(0)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise CrashError
        if fault == "refused":
            raise ApiError(503, "ServiceUnavailable", "try later")
        self.writes += 1
        written = change()
        if fault == "after":
            raise CrashError
        if fault == "lost":
            raise ApiError(0, "Timeout", "no answer")
        return written


class Silent:
    """Stands in for Recorder."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def record(self, parent: Manifest, event: Event) -> None:
        self.events.append(event)


class Cluster:
    """The operator, its caches, and the world around it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.api = Api(on_create=self._check_creation)
        self.recorder = Silent()
        self.created: list[str] = []
        self.version_makers: list[str] = []
        self.log = "no rows\n"
        self.lost: set[str] = set()
        """URIs of outputs that are no longer in the store."""
        self.store_answers = True
        self.restart()

    def restart(self) -> None:
        """Start a new operator process, whose caches are filled at once."""
        owners = {OWNER_INDEX: owners_of}
        self.stores = {
            RUNS.kind: Store(RUNS, indices={IDENTITY_INDEX: identities_of, LINE_INDEX: lines_of}),
            JOBS.kind: Store(JOBS, indices=owners),
            PODS.kind: Store(PODS, indices=owners),
            SERVICES.kind: Store(SERVICES, indices=owners),
            VERSIONS.kind: Store(VERSIONS, indices={LINE_INDEX: lines_of}),
            OBSERVATIONS.kind: Store(OBSERVATIONS),
        }
        client = cast(KubeClient, self.api)
        self.writer = writer_of(client, self.stores.values(), self.recorder, lambda: self.now)
        self.operator = TrainingRuns(
            client=client,
            runs=self.stores[RUNS.kind],
            jobs=self.stores[JOBS.kind],
            pods=self.stores[PODS.kind],
            services=self.stores[SERVICES.kind],
            versions=self.stores[VERSIONS.kind],
            observations=self.stores[OBSERVATIONS.kind],
            images=Images(trainer="trainer:1", pull_policy="IfNotPresent"),
            execute=self.writer.execute,
            now=lambda: self.now,
        )
        self.sync(*self.stores)

    def sync(self, *kinds: str) -> None:
        """Let caches learn what has changed."""
        for kind in kinds or self.stores:
            self.stores[kind].replace(self.of_kind(kind), self.api.version)

    def reconcile(self, *names: str, faults: tuple[str, ...] = ()) -> float | None:
        """Make one pass over each run, all at the same time; the faults meet the writes in their order."""
        self.api.faults = list(faults)
        try:
            delays = asyncio.run(self._reconcile_all(names))
        except CrashError:
            self.restart()
            return None
        finally:
            self.api.faults = []
        return min((delay for delay in delays if delay is not None), default=None)

    async def _reconcile_all(self, names: tuple[str, ...]) -> list[float | None]:
        self.operator._lines.clear()
        return await asyncio.gather(*map(self._reconcile, names))

    async def _reconcile(self, name: str) -> float | None:
        manifest = self.stores[RUNS.kind].get(NAMESPACE, name)
        if manifest is None:
            return None
        try:
            return await self.writer.execute(manifest, await self.operator.plan(manifest))
        except (ReconcileError, ApiError):
            return None

    def add_run(self, name: str, spec: dict[str, Any], queue: str = "") -> None:
        labels = {"labels": {LABEL_QUEUE: queue}} if queue else {}
        metadata = {"name": name, "namespace": NAMESPACE, "creationTimestamp": timestamp(self.now), **labels}
        self.api.put({"apiVersion": API_VERSION, "kind": "TrainingRun", "metadata": metadata, "spec": spec})

    def run(self, name: str) -> Manifest:
        return self.api.objects[RUNS.kind, name]

    def runs(self) -> list[Manifest]:
        return self.of_kind(RUNS.kind)

    def of_kind(self, kind: str) -> list[Manifest]:
        return [m for (k, _), m in self.api.objects.items() if k == kind]

    def add_champion(self, number: int) -> None:
        """Let a person register a version that is better than all others."""
        evaluation = {"metric": "rocAuc", "rows": 1, "datasetDigest": digest("rows"), "verdict": "FirstVersion"}
        self.add_version(number, evaluation=evaluation)

    def add_version(self, number: int, **more: Any) -> None:
        """Let a person register a version."""
        d = digest("registered", number)
        artifact = {"uri": f"s3://other/blobs/sha256/{d[7:]}", "digest": d}
        metadata = {"name": f"flight-delay-v{number}", "namespace": NAMESPACE}
        body = {"model": "flight-delay", "version": number, "artifact": artifact, **more}
        self.api.put({"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": metadata, "spec": body})

    def suspend(self, name: str, *, suspend: bool) -> None:
        run = copy.deepcopy(self.run(name))
        run["spec"]["suspend"] = suspend
        run["metadata"]["generation"] += 1
        self.api.put(run)

    def active_jobs(self) -> list[Manifest]:
        return [job for job in self.of_kind(JOBS.kind) if not job.get("status", {}).get("conditions")]

    def queued_jobs(self) -> list[Manifest]:
        return [job for job in self.active_jobs() if LABEL_QUEUE in job["metadata"]["labels"]]

    def admit(self, job: Manifest, *, admitted: bool = True) -> None:
        """Do what Kueue does: it starts and stops a Job, and says on which nodes it runs."""
        job = copy.deepcopy(job)
        job["spec"]["suspend"] = not admitted
        job["spec"]["template"]["spec"]["nodeSelector"] = {"flavor": "spot"} if admitted else {}
        job["status"] = {"startTime": timestamp(self.now)} if admitted else {}
        self.api.put(job)

    def runnable_jobs(self) -> list[Manifest]:
        return [job for job in self.active_jobs() if not job["spec"].get("suspend")]

    def observe_inputs(self) -> None:
        """Let the agent look at every run that has not ended: its inputs, and results of steps that run."""
        for run in self.runs():
            if is_finished(typed(run)):
                continue
            inputs = [{"name": i["name"], "digest": digest("input", i["name"])} for i in run["spec"].get("inputs", ())]
            running = [s for s in run.get("status", {}).get("steps", ()) if s["state"] == "Running"]
            results = [
                {"step": s["name"], "attempt": s["attempt"], "result": annotation}
                for s in running
                if (annotation := self._stored_result(s["jobName"]))
            ]
            seen = {"inputs": inputs, "results": results, "outputs": self._candidates(run)}
            subject = {"kind": "TrainingRun", "name": name_of(run), "uid": run["metadata"]["uid"]}
            name = observation_name("TrainingRun", name_of(run))
            known = self.api.objects.get((OBSERVATIONS.kind, name))
            if known is None or any(known["spec"][part] != value for part, value in seen.items()):
                metadata = {"name": name, "namespace": NAMESPACE}
                spec = {"subject": subject, "observedTime": timestamp(self.now), **seen}
                self.api.put({"apiVersion": API_VERSION, "kind": "Observation", "metadata": metadata, "spec": spec})

    def _candidates(self, run: Manifest) -> list[dict[str, Any]]:
        """What the agent sees of the outputs that the run may take over."""
        steps = run.get("status", {}).get("steps", ())
        uris = {output["uri"] for step in steps for output in step.get("candidate", {}).get("outputs", ())}
        return [{"uri": uri, "state": self._state(uri), "message": "as it says"} for uri in sorted(uris)]

    def _state(self, uri: str) -> str:
        if not self.store_answers:
            return "Unreachable"
        return "Missing" if uri in self.lost else "Present"

    def _stored_result(self, job: str) -> str | None:
        live = self.api.objects.get((JOBS.kind, job))
        return live["metadata"].get("annotations", {}).get("test/result") if live else None

    def end_job(self, job: Manifest, outcome: str) -> None:
        """End a Job: 'succeed', 'lose' (its pod too), 'exit', 'oom', 'delete' (its pod), or with a reason of ours."""
        job = copy.deepcopy(job)
        status: dict[str, Any] = {"startTime": timestamp(self.now)}
        if outcome in {"succeed", "lose"}:
            result = json.dumps(self._result(job))
            status |= {"completionTime": timestamp(self.now), "conditions": [{"type": "Complete", "status": "True"}]}
            job["metadata"].setdefault("annotations", {})["test/result"] = result
            if outcome == "succeed":
                container = {"name": "publish", "state": {"terminated": {"exitCode": 0, "message": result}}}
                work = {"name": "run", "imageID": self._image_id(job)}
                status_of_pod = {"containerStatuses": [container], "initContainerStatuses": [work]}
                self.add_pod(job, {"phase": "Succeeded", **status_of_pod})
        else:
            condition = {
                "type": "Failed",
                "status": "True",
                "reason": "BackoffLimitExceeded",
                "lastTransitionTime": timestamp(self.now),
            }
            status["conditions"] = [condition]
            if outcome != "delete":
                self.add_pod(job, {"phase": "Failed", "initContainerStatuses": [_failed_container(outcome, self.log)]})
        self.api.put({**job, "status": status})

    def _image_id(self, job: Manifest) -> str:
        image: str = job["spec"]["template"]["spec"]["initContainers"][-1]["image"]
        return image if "@" in image else f"{image.rpartition(':')[0]}@{digest(image)}"

    def add_pod(self, job: Manifest, status: dict[str, Any], rank: int | None = None, **metadata: Any) -> Manifest:
        """Make or change the pod of a Job, or that of a rank."""
        template = job["spec"]["template"]
        name, index = (
            (f"{name_of(job)}-pod", {}) if rank is None else (f"{name_of(job)}-{rank}-pod", {INDEX: str(rank)})
        )
        own = {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {**template["metadata"]["labels"], **index},
            "creationTimestamp": timestamp(self.now),
            "ownerReferences": [{"uid": job["metadata"]["uid"]}],
            **metadata,
        }
        return self.api.put(
            {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": template["spec"], "status": status}
        )

    def _result(self, job: Manifest) -> dict[str, Any]:
        labels = job["metadata"]["labels"]
        if labels[LABEL_STEP] == REGISTER_STEP:
            return self._judgement(job)
        run = self.run(labels["modelyard.dev/training-run"])
        own = [{"name": VALIDATE_STEP, "outputs": [PROFILE_OUTPUT]}]
        step = next(s for s in [*own, *run["spec"]["steps"]] if s["name"] == labels[LABEL_STEP])
        made = [digest(run["metadata"]["uid"], name) for name in step.get("outputs", ())]
        outputs = [
            {"name": name, "uri": f"s3://store/blobs/sha256/{d[7:]}", "digest": d, "bytes": 1}
            for name, d in zip(step.get("outputs", ()), made, strict=True)
        ]
        return {"outputs": outputs, "metrics": [{"name": "loss", "value": str(len(labels[LABEL_STEP]))}]}

    def _judgement(self, job: Manifest) -> dict[str, Any]:
        environment = {v["name"]: v["value"] for v in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        if "MODELYARD_EVALUATION" not in environment:
            return {"artifact": {"schemaDigest": digest("schema")}}
        asked = json.loads(environment["MODELYARD_EVALUATION"])
        best = asked.get("champion")
        evaluation = {
            "by": asked["by"],
            "metric": asked["metric"],
            "value": "0.7",
            "rows": 100,
            "datasetDigest": digest("rows"),
            "verdict": "BetterThanChampion" if best else "FirstVersion",
            "message": "better",
        }
        if best:
            evaluation["champion"] = {**best, "value": "0.6"}
        return {
            "artifact": {"schemaDigest": digest("schema"), "datasetDigest": digest("rows")},
            "evaluation": evaluation,
        }

    def _check_creation(self, manifest: Manifest) -> None:
        """What must hold at the very moment when something is made."""
        name = name_of(manifest)
        if manifest["kind"] == "Job":
            assert name not in self.created, f"a second Job of one attempt: {name}"
            self.created.append(name)
            run = manifest["metadata"]["labels"]["modelyard.dev/training-run"]
            others = [j for j in self.active_jobs() if j["metadata"]["labels"]["modelyard.dev/training-run"] == run]
            assert not others, f"{name} was started while {name_of(others[0])} runs"
            step = manifest["metadata"]["labels"][LABEL_STEP]
            known = next(s for s in self.run(run)["status"]["steps"] if s["name"] == step)
            assert known["state"] != "Cached", f"{name} was started although its step is done"
        if manifest["kind"] == "ModelVersion":
            self._check_version(
                ModelVersion.model_validate({**manifest, "metadata": manifest["metadata"] | {"uid": "new"}})
            )

    def _check_version(self, new: ModelVersion) -> None:
        assert new.spec.lineage
        maker = new.spec.lineage.training_run.uid
        assert maker not in self.version_makers, "a second version of one run"
        self.version_makers.append(maker)
        stored = [ModelVersion.model_validate(m) for m in self.of_kind(VERSIONS.kind)]
        versions = [version for version in stored if version.spec.model == new.spec.model]
        assert new.spec.version not in {v.spec.version for v in versions}
        if new.spec.evaluation and new.spec.evaluation.verdict != "ChampionMoved":
            best = champion(versions, new.spec.model)
            judged = new.spec.evaluation.champion
            assert (best.spec.artifact.digest if best else None) == (judged.digest if judged else None)
            assert best is None or new.spec.version > best.spec.version, "a later champion must have a higher number"

    def settle(self, outcome: str = "succeed", *, passes: int = 60) -> None:
        """Let everything go its way until nothing is written any more."""
        for _ in range(passes):
            before = self.api.version
            self.observe_inputs()
            for job in self.queued_jobs():
                if job["spec"]["suspend"]:
                    self.admit(job)
            for job in self.runnable_jobs():
                self.end_job(job, outcome)
            self.sync()
            self.reconcile(*(name_of(run) for run in self.runs()))
            self.sync()
            if before == self.api.version and not self.active_jobs():
                return
            self.now += timedelta(seconds=60)
        raise AssertionError("did not settle")

    def condition(self, name: str, type_: str) -> dict[str, Any]:
        found = find_condition(self.run(name)["status"]["conditions"], type_)
        assert found is not None
        return dict(found)


def _failed_container(outcome: str, log: str) -> dict[str, Any]:
    match outcome:
        case "exit":
            return {"name": "run", "state": {"terminated": {"exitCode": 3, "reason": "Error", "message": log}}}
        case "oom":
            return {"name": "run", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
        case reason:
            message = json.dumps({"reason": reason, "message": "as it says"})
            return {"name": "fetch", "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}}
