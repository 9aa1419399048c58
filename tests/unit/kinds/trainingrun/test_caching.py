"""Steps that need not run, because an earlier run of the model ran them."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from modelyard.controller.engine.manifests import name_of
from tests.unit.kinds.trainingrun.builders import PINNED, PREPARE, TRAIN, spec
from tests.unit.kinds.trainingrun.simulation import JOBS, RUNS, VERSIONS, Cluster

STEPS = [PREPARE, PINNED]


def after_a_run(steps: Any = STEPS, **changes: Any) -> Cluster:
    """A cluster in which the run "one" has made the first version."""
    cluster = Cluster()
    cluster.add_run("one", spec(steps=steps, **changes))
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"
    return cluster


def run_again(cluster: Cluster, steps: Any = STEPS, **changes: Any) -> None:
    cluster.add_run("two", spec(steps=steps, **changes))
    cluster.settle()
    assert cluster.condition("two", "Succeeded")["status"] == "True"


def states(cluster: Cluster, run: str = "two") -> list[str]:
    return [step["state"] for step in cluster.run(run)["status"]["steps"]]


def jobs(cluster: Cluster, run: str = "two") -> list[str]:
    return [name for job in cluster.of_kind(JOBS.kind) if (name := name_of(job)).startswith(run)]


def versions(cluster: Cluster) -> list[str]:
    return [name_of(version) for version in cluster.of_kind(VERSIONS.kind)]


def step(cluster: Cluster, name: str, run: str = "two") -> dict[str, Any]:
    return next(dict(s) for s in cluster.run(run)["status"]["steps"] if s["name"] == name)


@pytest.mark.parametrize("evaluation", [spec()["evaluation"], None], ids=["judged", "recorded"])
def test_a_run_with_nothing_changed_runs_nothing_and_publishes_nothing(evaluation: Any) -> None:
    cluster = after_a_run(evaluation=evaluation)
    run_again(cluster, evaluation=evaluation)
    assert states(cluster) == ["Cached"] * 3
    assert jobs(cluster) == []
    assert versions(cluster) == ["flight-delay-v1"]
    status = cluster.run("two")["status"]
    assert status["modelVersionName"] == "flight-delay-v1"
    assert "nothing changed: same as flight-delay-v1" in cluster.condition("two", "Ready")["message"]
    assert status["metrics"] == cluster.run("one")["status"]["metrics"]
    assert all("candidate" not in s for s in status["steps"])
    for name in ("prepare", "train"):
        assert step(cluster, name)["outputs"] == step(cluster, name, "one")["outputs"]
        assert step(cluster, name)["takenFrom"] == "one"


def test_a_run_with_nothing_changed_says_so_in_events() -> None:
    cluster = after_a_run()
    cluster.recorder.events.clear()
    run_again(cluster)
    assert [event.reason for event in cluster.recorder.events] == ["StepCached"] * 3 + ["RunSucceeded"]


def test_what_was_taken_over_can_be_taken_over_again() -> None:
    cluster = after_a_run()
    run_again(cluster)
    cluster.api.remove(cluster.run("one"))
    cluster.add_run("three", spec(steps=STEPS))
    cluster.settle()
    assert states(cluster, "three") == ["Cached"] * 3
    assert step(cluster, "train", "three")["takenFrom"] == "one"
    assert cluster.run("three")["status"]["modelVersionName"] == "flight-delay-v1"


def test_only_what_comes_after_a_change_runs() -> None:
    cluster = after_a_run()
    run_again(cluster, [PREPARE, {**PINNED, "args": ["--deep"]}])
    assert states(cluster) == ["Cached", "Succeeded", "Succeeded"]
    assert jobs(cluster) == ["two-train-1", "two-register-1"]
    assert versions(cluster) == ["flight-delay-v1", "flight-delay-v2"]


def test_a_changed_parameter_reaches_every_step() -> None:
    cluster = after_a_run()
    run_again(cluster, parameters=[{"name": "maxDepth", "value": "7"}])
    assert states(cluster) == ["Succeeded"] * 3


def test_a_new_run_starts_at_the_step_that_failed() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec(steps=[PREPARE, {**PINNED, "backoffLimit": 0}]))
    while not cluster.run("one").get("status", {}).get("completionTime"):
        cluster.observe_inputs()
        for job in cluster.runnable_jobs():
            cluster.end_job(job, "exit" if "train" in name_of(job) else "succeed")
        cluster.sync()
        cluster.reconcile("one")
    assert cluster.condition("one", "Succeeded")["status"] == "False"
    run_again(cluster)
    assert states(cluster) == ["Cached", "Succeeded", "Succeeded"]


def test_a_tag_may_move_so_its_step_runs_and_says_why() -> None:
    cluster = after_a_run([PREPARE, TRAIN])
    run_again(cluster, [PREPARE, TRAIN])
    assert states(cluster) == ["Cached", "Succeeded", "Succeeded"]
    assert "image 'example.com/train:1' is not pinned by digest" in step(cluster, "train")["message"]


def test_what_comes_from_elsewhere_is_not_known_so_its_step_runs_and_says_why() -> None:
    steps = [PREPARE, {**PINNED, "envFrom": [{"secretRef": {"name": "modelyard-step-tracker"}}]}]
    cluster = after_a_run(steps)
    run_again(cluster, steps)
    assert states(cluster) == ["Cached", "Succeeded", "Succeeded"]
    assert "what `envFrom` brings is not known" in step(cluster, "train")["message"]


def test_a_retired_version_does_not_come_back() -> None:
    cluster = after_a_run()
    version = cluster.api.objects[VERSIONS.kind, "flight-delay-v1"]
    cluster.api.put({**version, "spec": version["spec"] | {"retired": {"reason": "wrong labels"}}})
    run_again(cluster)
    assert versions(cluster) == ["flight-delay-v1"]
    assert cluster.condition("two", "Ready")["message"].endswith("and is retired: wrong labels")


def test_a_pinned_image_takes_over_what_ran_by_a_tag_of_the_same_digest() -> None:
    cluster = after_a_run([PREPARE, TRAIN])
    pinned = {**TRAIN, "image": step(cluster, "train", "one")["image"]}
    run_again(cluster, [PREPARE, pinned])
    assert states(cluster) == ["Cached"] * 3


def test_a_step_that_is_never_cached_runs_and_what_is_made_of_it_too() -> None:
    never = {**PREPARE, "cache": "Never"}
    cluster = after_a_run([never, PINNED])
    run_again(cluster, [never, PINNED])
    assert states(cluster) == ["Succeeded"] * 3


def test_a_run_of_another_model_has_nothing_to_take_over() -> None:
    cluster = after_a_run()
    run_again(cluster, model="other")
    assert states(cluster) == ["Succeeded"] * 3


def test_a_step_runs_again_when_its_outputs_are_gone_from_the_store() -> None:
    cluster = after_a_run()
    cluster.lost = {output["uri"] for output in step(cluster, "prepare", "one")["outputs"]}
    run_again(cluster)
    assert states(cluster) == ["Succeeded"] * 3
    assert "run 'one' has lost an output: as it says" in step(cluster, "prepare")["message"]


def test_a_step_does_not_wait_for_ever_for_an_agent() -> None:
    cluster = after_a_run()
    cluster.add_run("two", spec(steps=STEPS))
    cluster.observe_inputs()
    for _ in range(4):
        cluster.sync()
        delay = cluster.reconcile("two")
    assert "candidate" in step(cluster, "prepare")
    assert "asked whether the outputs of run 'one'" in cluster.condition("two", "Ready")["message"]
    assert delay == 60.0
    cluster.now += timedelta(seconds=60)
    for _ in range(3):
        cluster.sync()
        cluster.reconcile("two")
    assert jobs(cluster) == ["two-prepare-1"]
    assert "no agent has looked" in step(cluster, "prepare")["message"]


def test_a_store_that_does_not_answer_is_waited_for_but_not_for_ever() -> None:
    cluster = after_a_run()
    cluster.store_answers = False
    cluster.add_run("two", spec(steps=STEPS))
    for seconds in (0, 0, 30, 29):
        cluster.now += timedelta(seconds=seconds)
        cluster.observe_inputs()
        cluster.sync()
        cluster.reconcile("two")
    assert "candidate" in step(cluster, "prepare")
    cluster.now += timedelta(seconds=1)
    for _ in range(3):
        cluster.sync()
        cluster.reconcile("two")
    assert jobs(cluster) == ["two-prepare-1"]
    assert step(cluster, "prepare")["message"].endswith("are still there: as it says")


def test_a_version_that_was_deleted_is_made_anew() -> None:
    cluster = after_a_run()
    cluster.api.remove(cluster.api.objects[VERSIONS.kind, "flight-delay-v1"])
    run_again(cluster)
    assert states(cluster) == ["Cached", "Cached", "Succeeded"]
    assert versions(cluster) == ["flight-delay-v2"]


def test_a_model_is_judged_again_when_there_is_another_champion() -> None:
    cluster = after_a_run()
    cluster.add_champion(2)
    run_again(cluster)
    assert states(cluster) == ["Cached", "Cached", "Succeeded"]
    assert cluster.run("two")["status"]["modelVersionName"] == "flight-delay-v3"
    version = copy.deepcopy(cluster.api.objects[VERSIONS.kind, "flight-delay-v3"])
    version["spec"]["evaluation"]["verdict"] = "NotBetter"
    cluster.api.put(version)
    cluster.add_run("three", spec(steps=STEPS))
    cluster.settle()
    assert states(cluster, "three") == ["Cached"] * 3
    assert cluster.run("three")["status"]["modelVersionName"] == "flight-delay-v3"


def test_a_step_with_the_champion_as_input_runs_again_when_that_changes() -> None:
    steps = [PREPARE, {**PINNED, "inputs": ["features", "champion"]}]
    cluster = after_a_run(steps)
    run_again(cluster, steps)
    assert states(cluster) == ["Cached", "Succeeded", "Succeeded"]


def test_a_suspended_run_takes_nothing_over() -> None:
    cluster = after_a_run()
    cluster.add_run("two", spec(steps=STEPS, suspend=True))
    for _ in range(5):
        cluster.observe_inputs()
        cluster.sync()
        cluster.reconcile("two")
    assert states(cluster) == ["Waiting"] * 3
    cluster.suspend("two", suspend=False)
    cluster.settle()
    assert states(cluster) == ["Cached"] * 3


def test_a_step_that_makes_nothing_is_taken_over_without_asking() -> None:
    check = {"name": "check", "image": PINNED["image"], "inputs": ["flights"]}
    cluster = after_a_run([check, *STEPS])
    cluster.add_run("two", spec(steps=[check, *STEPS]))
    cluster.observe_inputs()
    for _ in range(5):
        cluster.sync()
        cluster.reconcile("two")
    assert states(cluster)[0] == "Cached"


def test_status_of_a_taken_over_run_is_left_alone() -> None:
    cluster = after_a_run()
    run_again(cluster)
    writes = cluster.api.writes
    cluster.now += timedelta(days=1)
    for _ in range(3):
        cluster.observe_inputs()
        cluster.sync()
        cluster.reconcile("one", "two")
    cluster.restart()
    cluster.reconcile("one", "two")
    assert cluster.api.writes == writes
    assert (RUNS.kind, "two") in cluster.api.objects
