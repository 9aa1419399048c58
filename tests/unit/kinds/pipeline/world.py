"""A small cluster around one Pipeline: the operator's real reading, deciding and writing, and a pretended API server.

Data, the agent, runs, production and time move only when told to. Any write can be the last one before a crash, and
caches learn of changes only when told to, apart from the operator's own writes.
"""

import asyncio
import copy
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from typing_extensions import override

from modelyard.api.v1alpha1.names import (
    ANNOTATION_RUN_NOW,
    API_VERSION,
    GROUP,
    LABEL_TENANT,
    VERSION,
    observation_name,
)
from modelyard.controller.engine.conditions import find_condition, timestamp
from modelyard.controller.engine.errors import ReconcileError
from modelyard.controller.engine.events import EVENTS
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest, ResourceType, TypeTable, name_of
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.owned import OWNER_INDEX, owners_of
from modelyard.controller.kinds.pipeline.observe import NAMESPACES, WATCHED_INDEX, Pipelines, Tenants, watched_of
from tests.unit.kinds.trainingrun.simulation import Api, CrashError, Silent, digest, writer_of

NAMESPACE = "air"
NAME = "nightly"
START = datetime(2026, 1, 1, tzinfo=UTC)

PIPELINES = ResourceType(GROUP, VERSION, "pipelines", "Pipeline")
RUNS = ResourceType(GROUP, VERSION, "trainingruns", "TrainingRun")
OBSERVATIONS = ResourceType(GROUP, VERSION, "observations", "Observation")
DEPLOYMENTS = ResourceType(GROUP, VERSION, "deployments", "Deployment")

TEMPLATE: dict[str, Any] = {
    "model": "delay",
    "inputs": [
        {"name": "flights", "uri": "s3://air/flights/"},
        {"name": "code", "uri": "s3://air/code.tar.gz"},
    ],
    "steps": [{"name": "train", "image": "example.com/train:1", "inputs": ["flights"], "outputs": ["model"]}],
}


def spec(**changes: Any) -> dict[str, Any]:
    """Return the spec of a Pipeline without triggers but the template; `None` removes a field."""
    merged = {"template": {"spec": TEMPLATE}, **changes}
    return {name: value for name, value in merged.items() if value is not None}


@dataclass
class ClockedApi(Api):
    """Stands in for KubeClient; gives every object the time of its creation."""

    types: TypeTable = field(
        default_factory=lambda: TypeTable.of(PIPELINES, RUNS, OBSERVATIONS, DEPLOYMENTS, NAMESPACES, EVENTS)
    )
    now: datetime = START
    tenants: dict[str, str] = field(default_factory=lambda: {NAMESPACE: "air", "air-production": "air", "sea": "sea"})

    @override
    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        if resource != NAMESPACES:
            return await super().get(resource, namespace, name)
        if name not in self.tenants:
            raise ApiError(404, "NotFound", f"namespaces '{name}' not found")
        return {"metadata": {"name": name, "labels": {LABEL_TENANT: self.tenants[name]}}}

    @override
    def put(self, manifest: Manifest) -> Manifest:
        created = manifest["metadata"].get("creationTimestamp", timestamp(self.now))
        return super().put({**manifest, "metadata": {**manifest["metadata"], "creationTimestamp": created}})


class World:
    """One Pipeline, its runs, the data, and what production says."""

    def __init__(self, body: dict[str, Any] | None = None, *, now: datetime = START) -> None:
        self.api = ClockedApi(now=now)
        self.recorder = Silent()
        self.data = {"flights": 0, "code": 0}
        self.transitions = 0
        self.made: list[Manifest] = []
        self.api.on_create = self.made.append
        metadata = {"name": NAME, "namespace": NAMESPACE, "annotations": {}}
        self.api.put(
            {
                "apiVersion": API_VERSION,
                "kind": "Pipeline",
                "metadata": metadata,
                "spec": spec() if body is None else body,
            }
        )
        self.restart()

    @property
    def now(self) -> datetime:
        return self.api.now

    def wait(self, **period: float) -> None:
        """Let time go on, or back."""
        self.api.now += timedelta(**period)

    # the operator

    def restart(self) -> None:
        """Start a new operator process, whose caches are filled at once."""
        self.stores = {
            PIPELINES.kind: Store(PIPELINES, indices={WATCHED_INDEX: watched_of}),
            RUNS.kind: Store(RUNS, indices={OWNER_INDEX: owners_of}),
            OBSERVATIONS.kind: Store(OBSERVATIONS),
            DEPLOYMENTS.kind: Store(DEPLOYMENTS),
        }
        client = cast(KubeClient, self.api)
        self.writer = writer_of(client, self.stores.values(), self.recorder, lambda: self.now)
        self.operator = Pipelines(
            client=client,
            pipelines=self.stores[PIPELINES.kind],
            runs=self.stores[RUNS.kind],
            observations=self.stores[OBSERVATIONS.kind],
            deployments=self.stores[DEPLOYMENTS.kind],
            tenants=Tenants(client, lambda: self.now),
            now=lambda: self.now,
        )
        self.sync()

    def sync(self, *kinds: str) -> None:
        """Let caches learn what has changed."""
        for kind in kinds or self.stores:
            self.stores[kind].replace(self.of_kind(kind), self.api.version)

    def reconcile(self, *faults: str) -> float | None:
        """Make one pass; the faults meet the writes in their order."""
        self.api.faults = list(faults)
        try:
            return asyncio.run(self._reconcile())
        except CrashError:
            self.restart()
            return None
        finally:
            self.api.faults = []

    async def _reconcile(self) -> float | None:
        manifest = self.stores[PIPELINES.kind].get(NAMESPACE, NAME)
        assert manifest is not None
        try:
            return await self.writer.execute(manifest, await self.operator.plan(manifest))
        except (ReconcileError, ApiError):
            return None

    def settle(self) -> None:
        """Make passes until nothing is written, and fail if that never comes."""
        for _ in range(20):
            writes = self.api.writes
            self.sync()
            self.reconcile()
            if self.api.writes == writes:
                return
        raise AssertionError(f"never converged: {json.dumps(self.status, indent=1)}")

    # people

    def change(self, **fields: Any) -> None:
        """Change fields of the Pipeline's spec."""
        pipeline = copy.deepcopy(self.pipeline)
        pipeline["spec"].update(fields)
        pipeline["metadata"]["generation"] += 1
        self.api.put(pipeline)

    def change_template(self, **fields: Any) -> None:
        self.change(template={"spec": {**self.pipeline["spec"]["template"]["spec"], **fields}})

    def run_now(self, token: str) -> None:
        pipeline = copy.deepcopy(self.pipeline)
        pipeline["metadata"]["annotations"][ANNOTATION_RUN_NOW] = token
        self.api.put(pipeline)

    def delete_run(self, name: str) -> None:
        self.api.remove(self.run(name))

    # the agent

    def observe(self, *, error: str = "") -> None:
        """Let the agent look at the Pipeline's inputs, and write what is new."""
        pipeline = self.pipeline
        name = observation_name("Pipeline", NAME)
        known = self.api.objects.get((OBSERVATIONS.kind, name))
        before = {item["name"]: item for item in known["spec"]["inputs"]} if known else {}
        inputs = [
            {"name": item["name"], "uri": item["uri"], **self._seen(item["name"], error, before.get(item["name"], {}))}
            for item in pipeline["spec"]["template"]["spec"].get("inputs", ())
        ]
        if known and known["spec"]["inputs"] == inputs:
            return
        subject = {"kind": "Pipeline", "name": NAME, "uid": pipeline["metadata"]["uid"]}
        body = {"subject": subject, "observedTime": timestamp(self.now), "inputs": inputs}
        metadata = {"name": name, "namespace": NAMESPACE}
        self.api.put({"apiVersion": API_VERSION, "kind": "Observation", "metadata": metadata, "spec": body})

    def _seen(self, name: str, error: str, before: dict[str, Any]) -> dict[str, Any]:
        """What cannot be read keeps the digest that it had when it could."""
        if error:
            last = {"digest": before["digest"]} if "digest" in before else {}
            return {**last, "error": {"reason": error, "message": "as it says"}}
        return {"digest": self.digest(name)}

    def digest(self, name: str) -> str:
        return digest(name, self.data[name])

    # runs

    def resolve(self, name: str) -> None:
        """Let a run record what its inputs are now."""
        run = copy.deepcopy(self.run(name))
        inputs = run["spec"].get("inputs", ())
        found = [{"name": i["name"], "uri": i["uri"], "digest": self.digest(i["name"])} for i in inputs]
        run.setdefault("status", {}).setdefault("inputs", found)
        self.api.put(run)

    def end(self, name: str, *, succeeded: bool = True) -> None:
        run = copy.deepcopy(self.run(name))
        status = run.setdefault("status", {})
        value, reason = ("True", "Succeeded") if succeeded else ("False", "BackoffLimitExceeded")
        common = {"status": value, "reason": reason, "lastTransitionTime": timestamp(self.now)}
        status["conditions"] = [{"type": kind, "message": "as it ended", **common} for kind in ("Ready", "Succeeded")]
        status["modelVersionName"] = f"delay-v{len(self.created)}"
        self.api.put(run)

    def finish(self, name: str, *, succeeded: bool = True) -> None:
        """Let a run read its inputs and end, and the operator take note."""
        self.resolve(name)
        self.end(name, succeeded=succeeded)
        self.settle()

    # production

    def production(self, condition: str, status: str, *, namespace: str = "air-production", version: int = 1) -> None:
        """Let a Deployment say something about its model."""
        self.transitions += 1
        moment = timestamp(self.now + timedelta(seconds=self.transitions))
        said = {"type": condition, "status": status, "reason": "Said", "lastTransitionTime": moment}
        self.api.put(
            {
                "apiVersion": API_VERSION,
                "kind": "Deployment",
                "metadata": {"name": "delay", "namespace": namespace},
                "spec": {"model": {"name": "delay", "version": version}},
                "status": {
                    "model": {"digest": digest("model", version)},
                    "conditions": [{**said, "message": "by 0.4"}],
                },
            }
        )

    # what a test looks at

    @property
    def pipeline(self) -> Manifest:
        return self.api.objects[PIPELINES.kind, NAME]

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.pipeline.get("status", {})
        return status

    @property
    def created(self) -> list[str]:
        """Names of all runs that were ever made."""
        return [name_of(run) for run in self.made]

    def of_kind(self, kind: str) -> list[Manifest]:
        return [m for (k, _), m in self.api.objects.items() if k == kind]

    def run(self, name: str) -> Manifest:
        return self.api.objects[RUNS.kind, name]

    def runs(self) -> list[str]:
        return [name_of(run) for run in self.of_kind(RUNS.kind)]

    def active(self) -> list[str]:
        return [name_of(run) for run in self.of_kind(RUNS.kind) if not _has_ended(run)]

    def reasons(self, name: str) -> list[str]:
        """Reasons of all causes of a run."""
        return [cause["reason"] for cause in self.run(name)["spec"]["trigger"]["evidence"]]

    def skipped(self) -> str:
        return str(self.status.get("skipped", {}).get("reason", ""))

    def condition(self, type_: str) -> tuple[str, str] | None:
        found = find_condition(self.status.get("conditions", ()), type_)
        return (found["status"], found["reason"]) if found else None

    def message(self, type_: str) -> str:
        found = find_condition(self.status.get("conditions", ()), type_)
        return str(found["message"]) if found else ""


def _has_ended(run: Manifest) -> bool:
    found = find_condition(run.get("status", {}).get("conditions", ()), "Succeeded")
    return found is not None and found["status"] in {"True", "False"}
