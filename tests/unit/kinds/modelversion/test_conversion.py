"""A Pickle on its way to ONNX: what is recorded, what is made, and when nobody tries any more."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.modelversion import ModelVersion, Refusal
from modelyard.api.v1alpha1.names import conversion_job_name
from modelyard.controller.engine.conditions import merge_conditions
from modelyard.controller.engine.manifests import Manifest, name_of
from modelyard.controller.engine.plan import Plan
from modelyard.controller.kinds.attempts import attempts_of
from modelyard.controller.kinds.modelversion.conversion import LIMIT
from modelyard.controller.kinds.modelversion.decide import decide
from modelyard.controller.kinds.modelversion.observe import conversions_of
from modelyard.controller.kinds.modelversion.observed import Observed
from modelyard.controller.kinds.stepjob import Images
from tests.unit.kinds.modelversion.test_decide import CREATED, outcome, seen, version

IMAGES = Images("trainer:1", "IfNotPresent")
OUTPUT = {"name": "model", "uri": f"s3://air/blobs/sha256/{'c' * 64}", "digest": "sha256:" + "c" * 64, "bytes": 12}
METRICS = [{"name": "maximumDifference", "value": "0.0000001"}, {"name": "rows", "value": "300"}]
ANSWER = json.dumps({"outputs": [OUTPUT], "metrics": METRICS})


class World:
    """A ModelVersion, its Jobs and a clock; `decide` is the only one that acts."""

    def __init__(self, **spec: Any) -> None:
        stored = version(verdict=None).model_dump(by_alias=True, mode="json")
        stored["spec"] |= {"format": "Pickle", **spec}
        self.version = ModelVersion.model_validate(stored)
        self.jobs: dict[str, Manifest] = {}
        self.pods: dict[str, Manifest] = {}
        self.now: datetime = CREATED
        self.observation = seen("Verified")
        self.made: list[str] = []

    def look(self) -> Plan:
        """Make one pass, and return its plan."""
        manifest = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": "flight-delay-v1", "namespace": "air", "uid": "uid-1"},
        }
        attempts = attempts_of(self.jobs.values(), list(self.pods.values()), {}).get("convert", ())
        plan = decide(Observed(self.version, (self.version,), self.observation, self.now, manifest, IMAGES, attempts))
        for job in plan.create:
            self.jobs[name_of(job)] = job
            self.made.append(name_of(job))
        assert plan.status is not None
        old = [c.model_dump(by_alias=True, mode="json") for c in self.version.status.conditions]
        conditions = merge_conditions(old, plan.conditions, 1, self.now)
        stored = self.version.model_dump(by_alias=True, mode="json", exclude={"status"})
        self.version = ModelVersion.model_validate(stored | {"status": {**plan.status, "conditions": conditions}})
        for ref in plan.delete:
            self.jobs.pop(ref.name)
        return plan

    def settle(self) -> Plan:
        """Make passes until nothing changes any more."""
        for _ in range(10):
            before = (self.version.status, dict(self.jobs))
            plan = self.look()
            if (self.version.status, self.jobs) == before and not plan.create:
                return plan
        raise AssertionError("it does not settle")

    def delete(self) -> None:
        """Delete the Jobs, after a pass has seen them: one that nobody has seen may be made again."""
        if self.jobs:
            self.look()
            self.jobs.clear()

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def start(self) -> None:
        """Let the newest Job have a pod, if it has not ended."""
        if not list(_open_jobs(self)):
            return
        name, job = list(self.jobs.items())[-1]
        job["status"] = {"startTime": "2026-01-01T00:00:00Z"}
        self.pods[name] = {
            "metadata": {"name": f"{name}-pod", "labels": job["metadata"]["labels"]},
            "status": {"phase": "Running"},
        }

    def end(self, container: str = "publish", code: int = 0, message: str = ANSWER, reason: str = "Completed") -> None:
        """End the newest Job, if it has not ended."""
        if not list(_open_jobs(self)):
            return
        self.start()
        name, job = list(self.jobs.items())[-1]
        kind = "Failed" if code else "Complete"
        job["status"]["conditions"] = [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}]
        terminated = {"exitCode": code, "message": message, "reason": reason}
        status = {"name": container, "image": "trainer:1", "state": {"terminated": terminated}}
        self.pods[name]["status"] = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status]}

    def fail(self, reason: str, container: str = "convert") -> None:
        self.end(container, 1, json.dumps({"reason": reason, "message": "because of this"}), "Error")

    @property
    def converted(self) -> tuple[str, str]:
        found = next(c for c in self.version.status.conditions if c.type == "Converted")
        return found.status.value, found.reason


def test_pickle_is_converted_by_one_job_that_goes_when_it_is_done() -> None:
    world = World()
    plan = world.settle()
    assert world.made == ["flight-delay-v1-convert-1"]
    assert (world.converted, outcome(plan, "Ready")) == (("Unknown", "Converting"), ("Unknown", "Converting"))

    world.end()
    plan = world.look()
    assert world.jobs == {}
    assert [(event.type, event.reason) for event in plan.events] == [("Normal", "Converted")]
    conversion = world.version.status.conversion
    assert conversion is not None
    assert conversion.artifact is not None
    assert (conversion.artifact.digest, conversion.maximum_difference, conversion.rows) == (
        OUTPUT["digest"],
        "0.0000001",
        300,
    )
    assert (world.converted, outcome(plan, "Ready")) == (("True", "Converted"), ("True", "Available"))
    assert world.version.served_artifact == conversion.artifact

    again = world.settle()
    assert (again.create, again.delete, again.events, again.requeue_after) == ((), (), (), None)
    assert world.made == ["flight-delay-v1-convert-1"]


def test_onnx_is_not_converted() -> None:
    onnx = version()
    plan = decide(Observed(onnx, (onnx,), None, CREATED, {}, IMAGES))
    assert "Converted" not in {c.type for c in plan.conditions}
    assert plan.create == ()
    assert plan.status == {"champion": "Yes"}
    assert onnx.served_artifact == onnx.spec.artifact


@pytest.mark.parametrize("reason", list(Refusal))
def test_refusal_is_final_and_names_its_reason(reason: str) -> None:
    world = World()
    world.settle()
    world.fail(reason)
    plan = world.look()
    assert world.converted == ("False", reason)
    assert outcome(plan, "Ready") == ("False", reason)
    assert outcome(plan, "Stalled") == ("True", reason)
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", reason)]
    assert "because of this" in world.version.status.conditions[0].message
    world.wait(86_400)
    world.jobs.clear()
    world.settle()
    assert world.converted == ("False", reason)
    assert len(world.made) == 1


def test_container_that_was_killed_for_memory_is_a_refusal() -> None:
    world = World()
    world.settle()
    world.end("convert", 137, "", "OOMKilled")
    world.look()
    assert world.converted == ("False", "LimitExceeded")


def test_failures_that_may_pass_are_tried_again_later_and_not_for_ever() -> None:
    world = World()
    for attempt in range(1, LIMIT + 1):
        world.settle()
        assert len(world.made) == attempt
        world.fail("InternalError")
        plan = world.look()
        if attempt < LIMIT:
            delay = 10 * 2 ** (attempt - 1)
            assert plan.requeue_after == delay
            world.settle()
            assert len(world.made) == attempt
            world.wait(delay)
    assert world.converted == ("False", "ConversionFailed")
    assert "failed by InternalError: because of this; to try again" in world.version.status.conditions[0].message
    world.wait(86_400)
    world.settle()
    assert len(world.made) == LIMIT


def test_outage_of_the_store_is_sat_out() -> None:
    world = World()
    for attempt in range(1, 20):
        world.settle()
        assert len(world.made) == attempt
        world.fail("StoreUnreachable", "fetch")
        world.look()
        assert world.converted == ("Unknown", "Converting")
        world.wait(300)
    world.settle()
    world.end()
    world.settle()
    assert world.converted == ("True", "Converted")


@pytest.mark.parametrize("reason", ["DigestMismatch", "InvalidModel", "OutputRefused"])
def test_failure_that_another_attempt_would_meet_again_is_final(reason: str) -> None:
    world = World()
    world.settle()
    world.fail(reason, "publish")
    world.look()
    assert world.converted == ("False", "ConversionFailed")


def test_deadline_of_the_job_is_named() -> None:
    world = World()
    world.settle()
    job = next(iter(world.jobs.values()))
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}
    world.look()
    assert "longer than 1800 s" in next(c.message for c in world.version.status.conditions if c.type == "Converted")


@pytest.mark.parametrize("answer", ["", "no JSON", json.dumps({"outputs": [OUTPUT]}), json.dumps({"metrics": METRICS})])
def test_lost_answer_is_made_again(answer: str) -> None:
    world = World()
    world.settle()
    world.end(message=answer)
    world.look()
    assert world.converted == ("Unknown", "Converting")
    world.wait(10)
    world.settle()
    assert world.made == ["flight-delay-v1-convert-1", "flight-delay-v1-convert-2"]


def test_deleted_job_is_replaced() -> None:
    world = World()
    world.settle()
    world.jobs.clear()
    world.look()
    world.wait(10)
    world.settle()
    assert world.made == ["flight-delay-v1-convert-1", "flight-delay-v1-convert-2"]


def test_status_that_was_lost_counts_the_attempts_that_there_are() -> None:
    """A restored backup has no status; the Jobs say what was tried."""
    world = World()
    world.settle()
    world.version = World().version
    world.settle()
    assert world.made == ["flight-delay-v1-convert-1"]
    assert world.version.status.conversion is not None
    assert world.version.status.conversion.attempt == 1


def test_bytes_that_are_not_there_are_waited_for() -> None:
    world = World()
    world.observation = seen("Missing")
    world.settle()
    assert (world.converted, world.made) == (("Unknown", "ArtifactMissing"), [])
    world.observation = seen("Verified")
    world.settle()
    assert len(world.made) == 1


def test_retired_pickle_is_not_converted() -> None:
    world = World(retired={"reason": "wrong units"})
    world.settle()
    assert (world.converted, world.made) == (("Unknown", "Retired"), [])


def test_pod_that_cannot_start_is_named() -> None:
    world = World()
    world.settle()
    world.start()
    pod = next(iter(world.pods.values()))
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    pod["status"] = {"initContainerStatuses": [{"name": "fetch", "image": "trainer:1", "state": waiting}]}
    world.look()
    message = next(c.message for c in world.version.status.conditions if c.type == "Converted")
    assert message.startswith("ImagePullFailed: ")


def test_job_is_locked_down() -> None:
    world = World()
    world.settle()
    (job,) = world.jobs.values()
    spec = job["spec"]["template"]["spec"]
    fetch, convert = spec["initContainers"]
    (publish,) = spec["containers"]
    assert [c["name"] for c in (fetch, convert, publish)] == ["fetch", "convert", "publish"]
    assert "envFrom" not in convert
    assert {variable["name"] for variable in convert["env"]} == {
        "MODELYARD_INPUTS_DIR",
        "MODELYARD_OUTPUTS_DIR",
        "MODELYARD_METRICS_FILE",
    }
    assert convert["securityContext"]["readOnlyRootFilesystem"]
    assert convert["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}
    assert {m["name"]: m.get("readOnly", False) for m in convert["volumeMounts"]} == {
        "inputs": True,
        "workspace": False,
        "tmp": False,
    }
    assert not spec["automountServiceAccountToken"]
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["backoffLimit"]) == (1800, 0)
    assert job["spec"]["ttlSecondsAfterFinished"] == 86_400
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "conversion"
    assert [key.name for key in conversions_of(job)] == ["flight-delay-v1"]


def test_pods_of_a_server_are_no_conversion() -> None:
    labels = {
        "app.kubernetes.io/component": "serving",
        "modelyard.dev/model": "flight-delay",
        "modelyard.dev/version": "1",
    }
    assert list(conversions_of({"metadata": {"name": "x", "namespace": "air", "labels": labels}})) == []


@pytest.mark.parametrize("name", ["a-v1", f"{'a' * 50}-v9999999"])
def test_job_names_fit(name: str) -> None:
    assert len(conversion_job_name(name, 999)) <= 63
    assert conversion_job_name(name, 1) != conversion_job_name(f"{name[:-1]}2", 1)


REASONS = ("InternalError", "StoreUnreachable", "NotConvertible", "DigestMismatch")
ACTIONS: dict[str, Callable[[World], None]] = {
    "look": lambda _: None,
    "wait": lambda world: world.wait(400),
    "delete": lambda world: world.jobs.clear(),
    "forget": lambda world: world.pods.clear(),
    "start": World.start,
    "end": World.end,
    "lose": lambda world: world.end(message=""),
    **{reason: lambda world, reason=reason: world.fail(reason) for reason in REASONS},  # type: ignore[misc]
}


def _open_jobs(world: World) -> Iterator[str]:
    for name, job in world.jobs.items():
        if not job.get("status", {}).get("conditions"):
            yield name


@given(st.lists(st.sampled_from(sorted(ACTIONS)), max_size=25))
def test_whatever_happens_no_attempt_is_made_twice_and_all_comes_to_rest(steps: list[str]) -> None:
    world = World()
    for move in steps:
        ACTIONS[move](world)
        world.look()
        world.look()  # A Job that goes before anybody has seen it was never there.
        assert len(set(world.made)) == len(world.made)
        assert len(list(_open_jobs(world))) <= 1
    settled = world.settle()
    assert settled.create == ()
    assert world.converted[0] in {"True", "False", "Unknown"}
