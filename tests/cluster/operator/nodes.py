"""What controllers, nodes and the agent would do, played on a real API server one step at a time.

Pods are made from the operator's own templates in a namespace that enforces `restricted`, so the server judges them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.cluster.operator.api import Api, CallError, Manifest

DIGEST: Final = "sha256:" + "a" * 64
DIGITS: Final = DIGEST.removeprefix("sha256:")


def published(job: Manifest) -> Manifest:
    """The answer of a step that did all that it was asked to do."""
    containers = {c["name"]: c for c in job["spec"]["template"]["spec"]["containers"]}
    environment = {v["name"]: v.get("value", "") for v in next(iter(containers.values()))["env"]}
    if "register" in containers:
        evaluation = json.loads(environment["MODELYARD_EVALUATION"]) if "MODELYARD_EVALUATION" in environment else None
        return {"artifact": {"schemaDigest": DIGEST, "datasetDigest": DIGEST}} | (
            {"evaluation": judged(evaluation)} if evaluation else {}
        )
    names = json.loads(environment["MODELYARD_OUTPUTS"])
    uri = f"s3://yard/air/blobs/sha256/{DIGITS}"
    return {"outputs": [{"name": name, "uri": uri, "digest": DIGEST, "bytes": 12} for name in names]}


def judged(evaluation: Manifest) -> Manifest:
    """A verdict that accepts the model."""
    champion = evaluation.get("champion")
    verdict = "BetterThanChampion" if champion else "FirstVersion"
    scored = {"champion": {**champion, "value": "0.6"}} if champion else {}
    return {
        "by": "Modelyard",
        "metric": evaluation["metric"],
        "value": "0.7",
        "rows": 1000,
        "datasetDigest": DIGEST,
        "verdict": verdict,
        **scored,
    }


@dataclass
class Nodes:
    """Steps of everything beside the operator; a test calls `step` until what it waits for has come."""

    api: Api
    failures: dict[str, Manifest] = field(default_factory=dict)
    """By Job, the answer with which its publish container fails."""
    answer: Callable[[Manifest], Manifest] = published
    held: str = ""
    """The Job that does not run."""
    asleep: bool = False
    """While set, no pod becomes ready."""
    answers_about_inputs: bool = True
    content: dict[str, str] = field(default_factory=dict)
    """By input, its digest; DIGEST for others."""
    lost: set[str] = field(default_factory=set)
    """URIs of outputs that are no longer in the store."""

    def step(self) -> None:
        """Let each part act once on what it sees."""
        if self.answers_about_inputs:
            self._look_at_inputs()
        self._look_at_artifacts()
        for job in self.api.all("Job"):
            if job["metadata"]["name"] != self.held:
                self._run(job)
        for workload in [] if self.asleep else self.api.all("Workload"):
            self._serve(workload)

    def collect_garbage(self) -> int:
        """Delete what belongs to something that is gone, and return how much that was."""
        collected = 0
        alive = {item["metadata"]["uid"] for kind in _OWNERS for item in self.api.all(kind)}
        for kind in ("TrainingRun", "Job", "Workload", "Service", "Observation", "Pod"):
            for item in self.api.all(kind):
                owners = item["metadata"].get("ownerReferences", [])
                if owners and not any(owner["uid"] in alive for owner in owners):
                    self.api.delete(kind, item["metadata"]["name"])
                    collected += 1
        return collected

    def _look_at_inputs(self) -> None:
        for run in self.api.all("TrainingRun"):
            self._observe("TrainingRun", run, {"inputs": self._read(run["spec"])})
            if candidates := _candidates(run):
                outputs = [{"uri": uri, "state": "Missing" if uri in self.lost else "Present"} for uri in candidates]
                name = f"trainingrun-{run['metadata']['name']}"
                if self.api.get("Observation", name)["spec"].get("outputs") != outputs:
                    self.api.patch("Observation", name, {"spec": {"outputs": outputs}})
        for pipeline in self.api.all("Pipeline"):
            self._observe("Pipeline", pipeline, {"inputs": self._read(pipeline["spec"]["template"]["spec"])})

    def _read(self, spec: Manifest) -> list[Manifest]:
        names = [item["name"] for item in spec.get("inputs", [])]
        return [{"name": name, "digest": self.content.get(name, DIGEST), "bytes": 7} for name in names]

    def _look_at_artifacts(self) -> None:
        for version in self.api.all("ModelVersion"):
            digest = version["spec"]["artifact"]["digest"]
            self._observe("ModelVersion", version, {"artifact": {"digest": digest, "state": "Verified"}})

    def _observe(self, kind: str, subject: Manifest, seen: Manifest) -> None:
        name, uid = subject["metadata"]["name"], subject["metadata"]["uid"]
        owner = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "name": name, "uid": uid}
        observation = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "Observation",
            "metadata": {"name": f"{kind.lower()}-{name}", "ownerReferences": [owner]},
            "spec": {"subject": {"kind": kind, "name": name, "uid": uid}, "observedTime": _now(), **seen},
        }
        self._create("Observation", observation)
        if kind == "Pipeline" and self.api.get("Observation", f"pipeline-{name}")["spec"]["inputs"] != seen["inputs"]:
            self.api.patch("Observation", f"pipeline-{name}", {"spec": {"observedTime": _now(), **seen}})

    def _run(self, job: Manifest) -> None:
        name = job["metadata"]["name"]
        if _is_over(job) or job["spec"].get("suspend"):
            return
        failure = self.failures.get(name)
        for rank, pod in enumerate(self.make_pods(job)):
            self.api.patch_status("Pod", pod, _ended(job, failure, self.answer if rank == 0 else lambda _: {}))
        now = _now()
        started = {"startTime": now, "uncountedTerminatedPods": {}}
        kinds = ("FailureTarget", "Failed") if failure else ("SuccessCriteriaMet", "Complete")
        ended = {"failed": 1} if failure else {"succeeded": 1, "completionTime": now}
        self.api.patch_status("Job", name, started)
        self.api.patch_status("Job", name, {"conditions": [_condition(kinds[0])]})
        self.api.patch_status("Job", name, {**ended, "conditions": [_condition(kind) for kind in kinds]})

    def _serve(self, workload: Manifest) -> None:
        name, size = workload["metadata"]["name"], workload["spec"]["replicas"]
        generation = workload["metadata"]["generation"]
        wanted = {"observedGeneration": generation, "replicas": size, "updatedReplicas": size, "readyReplicas": size}
        before = workload.get("status", {})
        if any(before.get(key, 0) != value for key, value in wanted.items()):
            self.api.patch_status("Workload", name, {**wanted, "availableReplicas": size})

    def make_pods(self, job: Manifest) -> list[str]:
        """Make the pods of a Job that are not there, and return the names of all."""
        names = [f"{job['metadata']['name']}-{rank}-pod" for rank in range(job["spec"].get("completions", 1))]
        for rank, name in enumerate(names):
            self.make_pod({"apiVersion": "batch/v1", "kind": "Job", **job}, _template(job, rank), name)
        return names

    def make_pod(self, owner: Manifest, template: Manifest, name: str) -> None:
        """Make a pod of a Job or a workload."""
        reference = {
            "apiVersion": owner.get("apiVersion", "apps/v1"),
            "kind": owner.get("kind", "Deployment"),
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        metadata = {**template["metadata"], "name": name, "ownerReferences": [reference]}
        self._create("Pod", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})

    def _create(self, kind: str, manifest: Manifest) -> None:
        try:
            self.api.create(kind, manifest)
        except CallError as error:
            if error.code != 409:
                raise


_OWNERS: Final = ("Pipeline", "TrainingRun", "ModelVersion", "Deployment", "Job", "Workload")


def _template(job: Manifest, rank: int) -> Manifest:
    """The template of one pod, with the number that the Job controller gives to those of an Indexed Job."""
    template: Manifest = job["spec"]["template"]
    if job["spec"].get("completionMode") != "Indexed":
        return template
    labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-completion-index": str(rank)}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def _ended(job: Manifest, failure: Manifest | None, answer: Callable[[Manifest], Manifest]) -> Manifest:
    spec = job["spec"]["template"]["spec"]
    message = json.dumps(failure or answer(job))
    main = spec["containers"][0]
    return {
        "phase": "Failed" if failure else "Succeeded",
        "initContainerStatuses": [_container(c, 0, "") for c in spec.get("initContainers", [])],
        "containerStatuses": [_container(main, 1 if failure else 0, message)],
    }


def _container(container: Manifest, code: int, message: str) -> Manifest:
    now = _now()
    terminated = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"{container['image'].partition(':')[0]}@{DIGEST}",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": {**terminated, "startedAt": now, "finishedAt": now}},
    }


def _condition(kind: str) -> dict[str, Any]:
    now = _now()
    return {"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now, "reason": "Test"}


def _candidates(run: Manifest) -> list[str]:
    """URIs of outputs that a step may take over."""
    steps = run.get("status", {}).get("steps", ())
    return sorted({output["uri"] for step in steps for output in step.get("candidate", {}).get("outputs", ())})


def _is_over(job: Manifest) -> bool:
    return any(c["type"] in {"Complete", "Failed"} for c in job.get("status", {}).get("conditions", []))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
