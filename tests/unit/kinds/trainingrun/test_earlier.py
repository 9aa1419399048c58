"""Which steps of other runs are found under an identity."""

from typing import Any

import pytest

from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.trainingrun.earlier import IDENTITY_INDEX, earlier_steps, identities_of
from tests.unit.kinds.trainingrun.builders import run_manifest, sha, typed
from tests.unit.kinds.trainingrun.simulation import RUNS

STEP: dict[str, Any] = {
    "name": "train",
    "state": "Succeeded",
    "identity": sha("a"),
    "completionTime": "2026-01-01T00:00:05Z",
}


def run(name: str, *steps: dict[str, Any], namespace: str = "air", **changes: Any) -> Manifest:
    metrics = [{"name": "loss", "value": "1", "step": "train"}, {"name": "rows", "value": "2", "step": "prepare"}]
    status = {"steps": list(steps), "metrics": metrics, "modelVersionName": "flight-delay-v1"}
    manifest = run_manifest(status, **changes)
    own = {"name": name, "namespace": namespace, "uid": f"{name}-uid", "resourceVersion": "1"}
    return {**manifest, "metadata": {**manifest["metadata"], **own}}


def found(*runs: Manifest) -> list[str]:
    store = Store(RUNS, indices={IDENTITY_INDEX: identities_of})
    for manifest in runs:
        store.put(manifest)
    earlier = earlier_steps(store, typed(run("mine")), sha("a"))
    assert earlier.identity == sha("a")
    assert all(step.status.identity == sha("a") for step in earlier.steps)
    return [step.run for step in earlier.steps]


@pytest.mark.parametrize("state", ["Succeeded", "Cached"])
def test_a_step_that_is_done_is_found(state: str) -> None:
    assert found(run("other", {**STEP, "state": state}, {**STEP, "name": "test", "identity": sha("b")})) == ["other"]


@pytest.mark.parametrize(
    "other",
    [
        run("mine", STEP),
        run("other", STEP, namespace="sea"),
        run("other", STEP, model="other"),
        run("other", {**STEP, "identity": sha("b")}),
        run("other", {**STEP, "state": "Failed"}),
        run("other", {**STEP, "state": "Running"}),
        run("other", {"name": "train", "state": "Succeeded"}),
        run("other", STEP, seed="from the future"),
        run("other"),
    ],
    ids=["own", "namespace", "model", "identity", "failed", "running", "none", "unreadable", "nothing"],
)
def test_nothing_else_is_found(other: Manifest) -> None:
    assert found(other) == []


def test_a_few_that_ended_last_are_read_of_many() -> None:
    runs = [run(f"run-{n}", {**STEP, "completionTime": f"2026-01-01T00:00:0{n}Z"}) for n in range(8)]
    assert found(*runs) == ["run-7", "run-6", "run-5", "run-4"]


def test_what_is_found_has_its_own_metrics_alone() -> None:
    store = Store(RUNS, indices={IDENTITY_INDEX: identities_of})
    store.put(run("other", STEP))
    (step,) = earlier_steps(store, typed(run("mine")), sha("a")).steps
    assert [(metric.name, metric.value) for metric in step.metrics] == [("loss", "1")]
    assert step.version_name == "flight-delay-v1"
