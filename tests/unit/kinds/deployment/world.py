"""A pretend cluster around one Deployment: applies plans, runs pods, has a clock. Everything in it is data."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.api.v1alpha1.deployment import Deployment
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import LABEL_REVISION
from modelyard.controller.engine.conditions import find_condition, merge_conditions
from modelyard.controller.engine.plan import Event, Plan
from modelyard.controller.kinds.deployment.decide import decide
from modelyard.controller.kinds.deployment.observed import Observed

START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def version(number: int, *, verdict: str = "BetterThanChampion", model: str = "delay") -> dict[str, Any]:
    """A ModelVersion of the model line `delay`, accepted unless told otherwise."""
    evaluation = {"metric": "rocAuc", "rows": 1000, "datasetDigest": digest(7777), "verdict": verdict}
    return {
        "metadata": {"name": f"{model}-v{number}", "namespace": "air", "uid": f"{model}-{number}"},
        "spec": {
            "model": model,
            "version": number,
            "artifact": {"uri": f"s3://yard/air/blobs/sha256/{number:064x}", "digest": digest(number)},
            "evaluation": evaluation,
        },
    }


@dataclass
class World:
    """One Deployment named `delay` in the namespace `air`, its versions and children."""

    spec: dict[str, Any] = field(default_factory=lambda: {"model": {"name": "delay", "version": 1}})
    status: dict[str, Any] = field(default_factory=dict)
    generation: int = 1
    versions: dict[int, dict[str, Any]] = field(default_factory=lambda: {n: version(n) for n in (1, 2, 3)})
    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    service: dict[str, Any] | None = None
    pods: list[dict[str, Any]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Revisions whose pods do not become ready."""
    now: datetime = START
    events: list[Event] = field(default_factory=list)
    operator_image: str = "server:1"
    serial: int = 0

    # what the user and time do

    def ask(self, **changes: Any) -> None:
        """Change the spec: `model`, `endpoint` and `rollout` are merged."""
        before = copy.deepcopy(self.spec)
        for part, values in changes.items():
            self.spec[part] = {**self.spec.get(part, {}), **values}
        self.generation += self.spec != before

    def want(self, number: int) -> None:
        self.spec["model"] = {"name": "delay", "version": number}
        self.generation += 1

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def retire(self, number: int) -> None:
        self.versions[number]["spec"]["retired"] = {"reason": "bad on Mondays"}

    def lose_artifact(self, number: int) -> None:
        condition = {
            "type": "ArtifactAvailable",
            "status": "False",
            "reason": "ArtifactMissing",
            "message": "no such object",
            "lastTransitionTime": "2026-11-01T00:00:00Z",
        }
        self.versions[number]["status"] = {"conditions": [condition]}

    def pickle(self, number: int, status: str, reason: str) -> None:
        """Make a version a pickle whose conversion stands so; its ONNX form has the digest `number` + 1000."""
        spec = {name: value for name, value in self.versions[number]["spec"].items() if name != "evaluation"}
        condition = {
            "type": "Converted",
            "status": status,
            "reason": reason,
            "message": "so it stands",
            "lastTransitionTime": "2026-11-01T00:00:00Z",
        }
        made = number + 1000
        artifact = {"uri": f"s3://yard/air/blobs/sha256/{made:064x}", "digest": digest(made)}
        conversion = {"attempt": 1} | ({"artifact": artifact} if status == "True" else {})
        self.versions[number]["spec"] = {**spec, "format": "Pickle"}
        self.versions[number]["status"] = {"conversion": conversion, "conditions": [condition]}

    # what the operator does

    def observe(self) -> Observed:
        metadata = {"name": "delay", "namespace": "air", "uid": "owner-1", "generation": self.generation}
        whole = {"metadata": metadata, "spec": self.spec, "status": self.status}
        return Observed(
            deployment=Deployment.model_validate(copy.deepcopy(whole)),
            versions=tuple(ModelVersion.model_validate(item) for item in self.versions.values()),
            children=tuple(copy.deepcopy(list(self.workloads.values()))),
            service=copy.deepcopy(self.service),
            pods=tuple(copy.deepcopy(self.pods)),
            server_image=self.operator_image,
            pull_policy="IfNotPresent",
            now=self.now,
        )

    def reconcile(self, *, until: int | None = None) -> int:
        """Make one pass and return the number of writes that changed anything; `until` ends it after so many writes."""
        plan = decide(self.observe())
        writes = 0
        for number, write in enumerate(self._writes(plan)):
            if number == until:
                break
            writes += write()
        return writes

    def _writes(self, plan: Plan) -> Iterable[Any]:
        for manifest in plan.apply:
            yield lambda manifest=manifest: self._apply(manifest)
        if plan.status is not None:
            yield lambda: self._write_status(plan)
        for event in plan.events:
            yield lambda event=event: self._tell(event)
        for ref in plan.delete:
            yield lambda ref=ref: self._delete(ref.name)

    def _apply(self, manifest: dict[str, Any]) -> bool:
        manifest = copy.deepcopy(manifest)
        if manifest["kind"] == "Service":
            changed = self.service != manifest
            self.service = manifest
            return changed
        name = manifest["metadata"]["name"]
        live = self.workloads.get(name)
        generation = live["metadata"]["generation"] if live else 0
        changed = live is None or any(
            live["metadata"][part] != manifest["metadata"][part] for part in ("labels", "annotations")
        )
        if live is None or live["spec"] != manifest["spec"]:
            generation, changed = generation + 1, True
        self.serial += live is None
        metadata = {
            **manifest["metadata"],
            "generation": generation,
            "uid": live["metadata"]["uid"] if live else f"w-{self.serial}",
        }
        self.workloads[name] = {**manifest, "metadata": metadata, "status": live["status"] if live else {}}
        return changed

    def _write_status(self, plan: Plan) -> bool:
        assert plan.status is not None
        merged = merge_conditions(self.status.get("conditions", []), plan.conditions, self.generation, self.now)
        status = {**plan.status, "observedGeneration": self.generation, "conditions": merged}
        changed = status != self.status
        self.status = copy.deepcopy(status)
        return changed

    def _tell(self, event: Event) -> bool:
        self.events.append(event)
        return True

    def _delete(self, name: str) -> bool:
        gone = self.workloads.pop(name)
        revision = gone["metadata"]["labels"][LABEL_REVISION]
        self.pods = [pod for pod in self.pods if pod["metadata"]["labels"][LABEL_REVISION] != revision]
        return True

    # what Kubernetes does

    def run_pods(self) -> None:
        """Let every workload take one step: one pod more or less, then healthy pods become ready."""
        for workload in self.workloads.values():
            self._roll(workload)
        for pod in self.pods:
            ready = pod["metadata"]["labels"][LABEL_REVISION] not in self.broken
            pod["ready"] = ready
            pod["status"] = {"phase": "Running"} if ready else failing("GoldenMismatch", "example 0 differs")
        self.report()

    def _roll(self, workload: dict[str, Any]) -> None:
        revision = workload["metadata"]["labels"][LABEL_REVISION]
        mine = [pod for pod in self.pods if pod["metadata"]["labels"][LABEL_REVISION] == revision]
        size, template = workload["spec"]["replicas"], workload["spec"]["template"]
        new = [pod for pod in mine if pod["template"] == template]
        old = [pod for pod in mine if pod["template"] != template]
        if len(new) < size and len(mine) < size + bool(old):
            self.serial += 1
            metadata = {"name": f"pod-{self.serial}", "labels": template["metadata"]["labels"]}
            self.pods.append({"metadata": metadata, "template": copy.deepcopy(template), "ready": False, "status": {}})
        elif old and sum(pod["ready"] for pod in mine) > size - (not old[0]["ready"]):
            self.pods.remove(old[0])
        elif len(mine) > size:
            self.pods.remove(mine[0])

    def report(self) -> None:
        """Write the status of every workload, as its controller does."""
        for workload in self.workloads.values():
            revision = workload["metadata"]["labels"][LABEL_REVISION]
            mine = [pod for pod in self.pods if pod["metadata"]["labels"][LABEL_REVISION] == revision]
            workload["status"] = {
                "observedGeneration": workload["metadata"]["generation"],
                "replicas": len(mine),
                "updatedReplicas": sum(pod["template"] == workload["spec"]["template"] for pod in mine),
                "readyReplicas": sum(pod["ready"] for pod in mine),
            }

    def fail_pods(self) -> None:
        """Make every pod unready at once."""
        for pod in self.pods:
            pod["ready"] = False
        self.report()

    def settle(self, *, rounds: int = 60) -> None:
        """Alternate passes, pods and time until nothing changes, and fail if that never comes."""
        quiet = 0
        for _ in range(rounds):
            writes = self.reconcile()
            before = copy.deepcopy((self.pods, self.workloads))
            self.run_pods()
            quiet = 0 if writes or (self.pods, self.workloads) != before else quiet + 1
            if quiet > 3:
                return
            self.wait(5)
        raise AssertionError(f"never converged: {self.status}")

    # what a test looks at

    def condition(self, type_: str) -> tuple[str, str] | None:
        """Status and reason of a condition."""
        found = find_condition(self.status.get("conditions", []), type_)
        return (found["status"], found["reason"]) if found else None

    def message(self, type_: str) -> str:
        found = find_condition(self.status.get("conditions", []), type_)
        return str(found["message"]) if found else ""

    @property
    def serving(self) -> int | None:
        """Version that status says is served."""
        model = self.status.get("model")
        return model["version"] if model else None

    @property
    def candidate(self) -> int | None:
        found = self.status.get("candidate")
        return found["version"] if found else None

    def selected(self) -> str | None:
        """Revision that the Service selects."""
        return self.service["spec"]["selector"][LABEL_REVISION] if self.service else None

    def ready(self, revision: str | None) -> int:
        return sum(pod["ready"] for pod in self.pods if pod["metadata"]["labels"][LABEL_REVISION] == revision)

    def sizes(self) -> dict[int, int]:
        """Pods that each version's workload is told to have."""
        return {
            int(w["metadata"]["labels"]["modelyard.dev/version"]): w["spec"]["replicas"]
            for w in self.workloads.values()
        }

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events]


def failing(reason: str, message: str) -> dict[str, Any]:
    """Status of a pod whose server refuses to start."""
    text = f'{{"reason": "{reason}", "message": "{message}"}}'
    terminated = {"exitCode": 1, "reason": "Error", "message": text}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    state = {"name": "server", "state": {"waiting": waiting}, "lastState": {"terminated": terminated}}
    return {"phase": "Running", "containerStatuses": [state]}
