"""Pods that are taken away on a real node: the work goes on from its checkpoint, and nobody is blamed."""

import time
from typing import Any

import pytest

from tests.e2e.conftest import Yard
from tests.support.tenant import Manifest, Tenant, training_run
from tests.support.waiting import wait_until

SECONDS = 180
TURNS = 60
PROGRAM = f"""
import hashlib, json, os, time
from modelyard import sdk

last = sdk.last_checkpoint()
turn, state = json.loads((last / "state.json").read_text()) if last else (0, "start")

def save():
    with sdk.save_checkpoint() as folder:
        (folder / "state.json").write_text(json.dumps([turn, state]))

sdk.on_preemption(save)
print("starts at turn", turn, flush=True)
while turn < {TURNS}:
    turn, state = turn + 1, hashlib.sha256(f"{{turn}}{{state}}".encode()).hexdigest()
    sdk.log_progress(turn / {TURNS})
    if turn % 10 == 0:
        save()
    time.sleep(float(os.environ["PAUSE"]))
sdk.log_metric("turns", turn)
(sdk.output("result") / "state").write_text(state)
"""


def run(name: str, image: str, pause: float, **step: Any) -> Manifest:
    own = {
        "name": "train",
        "image": image,
        "command": ["python", "-c", PROGRAM],
        "env": [{"name": "PAUSE", "value": str(pause)}],
        "outputs": ["result"],
        "backoffLimit": 0,
        "checkpoint": {"intervalSeconds": 2, "gracePeriodSeconds": 20},
        "progress": "Live",
    }
    return training_run(name, model="kept", steps=[own | step], backoffLimit=0)


def pods(tenant: Tenant, name: str) -> list[Manifest]:
    return tenant.list("pods", f"modelyard.dev/training-run={name}")


def at_work(pod: Manifest) -> bool:
    statuses = pod["status"].get("initContainerStatuses", [])
    return any(status["name"] == "run" and "running" in status["state"] for status in statuses)


def wait_for_work(tenant: Tenant, name: str, number: int = 1) -> list[Manifest]:
    """Wait until pods that nobody has deleted run the program."""
    found: list[Manifest] = []

    def ready() -> bool:
        found[:] = [p for p in pods(tenant, name) if at_work(p) and "deletionTimestamp" not in p["metadata"]]
        return len(found) == number

    wait_until(ready, seconds=SECONDS, what=f"{number} pods of {name} at work", poll_seconds=0.5)
    return found


def ended(tenant: Tenant, name: str) -> Manifest:
    tenant.wait_condition("trun", name, "Ready", "True", seconds=SECONDS)
    (step,) = tenant.get("trun", name)["status"]["steps"]
    return dict(step)


@pytest.fixture(scope="module")
def unbroken(tenant: Tenant, yard: Yard) -> str:
    """Digest of the result of a run that nothing happens to."""
    tenant.apply(run("unbroken", yard.image("trainer"), 0.0))
    digest: str = ended(tenant, "unbroken")["outputs"][0]["digest"]
    return digest


def test_step_whose_pod_is_deleted_twice_ends_like_an_unbroken_one(tenant: Tenant, yard: Yard, unbroken: str) -> None:
    tenant.apply(run("deleted", yard.image("trainer"), 0.5))
    seen = set()
    for _ in range(2):
        (pod,) = wait_for_work(tenant, "deleted")
        assert pod["metadata"]["uid"] not in seen
        seen.add(pod["metadata"]["uid"])
        time_to_work(tenant, "deleted")
        tenant.delete(f"pod/{pod['metadata']['name']}")
        gone = "the pod to go"
        wait_until(
            lambda uid=pod["metadata"]["uid"]: uid not in {p["metadata"]["uid"] for p in pods(tenant, "deleted")},  # type: ignore[misc]
            seconds=SECONDS,
            what=gone,
            poll_seconds=0.5,
        )
    step = ended(tenant, "deleted")
    assert step["outputs"][0]["digest"] == unbroken
    assert (step["resumes"], step["failures"]) == (2, 0)
    assert step["lostSeconds"] <= 4


def time_to_work(tenant: Tenant, name: str) -> None:
    """Wait until the run shows that its step has got on far enough to have kept a checkpoint."""
    before = progress(tenant, name)
    far = f"{name} to get on"
    wait_until(lambda: progress(tenant, name) >= before + 10, seconds=90, what=far, poll_seconds=0.5)


def progress(tenant: Tenant, name: str) -> int:
    said = tenant.get("trun", name)["status"].get("progress") or {}
    return int(said.get("percentage", 0))


def test_step_whose_pod_is_drained_goes_on_in_the_same_job(tenant: Tenant, yard: Yard, unbroken: str) -> None:
    tenant.apply(run("drained", yard.image("trainer"), 0.3))
    (pod,) = wait_for_work(tenant, "drained")
    time_to_work(tenant, "drained")
    name = pod["metadata"]["name"]
    tenant.evict(name)
    step = ended(tenant, "drained")
    assert step["outputs"][0]["digest"] == unbroken
    assert (step["resumes"], step["failures"], step["attempt"]) == (1, 0, 1)


def test_end_of_a_step_is_not_held_up_by_its_courier(tenant: Tenant, yard: Yard) -> None:
    started = time.monotonic()
    grace = {"checkpoint": {"intervalSeconds": 2, "gracePeriodSeconds": 300}}
    tenant.apply(run("quick", yard.image("trainer"), 0.0, **grace))
    ended(tenant, "quick")
    assert time.monotonic() - started < 90
