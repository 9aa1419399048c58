from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.trainingrun import StepStatus
from modelyard.controller.kinds.owned import owners_of
from modelyard.controller.kinds.trainingrun.decide import decide, refuse
from modelyard.controller.kinds.trainingrun.observe import maker_of, runs_of
from modelyard.controller.kinds.trainingrun.observed import EarlierStep
from tests.unit.kinds.trainingrun.builders import (
    PREPARE,
    TRAIN,
    condition,
    decided,
    observation,
    observe,
    recorded,
    run_manifest,
    sha,
)

INPUT = {"name": "flights", "uri": "s3://air/flights/", "digest": sha("a"), "bytes": 1}
OUTPUT = {"name": "features", "uri": f"s3://air/blobs/sha256/{'b' * 64}", "digest": sha("b"), "bytes": 1}
STARTED = "2026-01-01T00:00:00Z"
LONGEST_CHAIN = 6
"""Passes in which one step after the other may be taken over, each after it was looked up."""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": [{**TRAIN, "inputs": ["features"]}, PREPARE]}, "`steps[train].inputs` names 'features'"),
        ({"steps": [{**TRAIN, "inputs": ["nothing"]}]}, "'nothing'"),
        ({"evaluation": {"dataset": "rows/test", "metric": "f1", "goal": "Maximize"}}, "`evaluation.dataset`"),
    ],
)
def test_a_spec_that_cannot_work_stalls(changes: dict[str, Any], named: str) -> None:
    plan = decide(observe(run_manifest(**changes)))
    for type_, status in (("Ready", "False"), ("Succeeded", "False"), ("Stalled", "True")):
        assert (condition(plan, type_).status, condition(plan, type_).reason) == (status, "InvalidSpec")
    assert named in condition(plan, "Ready").message
    assert not plan.create


def test_a_run_being_deleted_is_left_alone() -> None:
    manifest = run_manifest()
    manifest["metadata"]["deletionTimestamp"] = STARTED
    plan = decide(observe(manifest))
    assert plan.status is None
    assert not plan.create


def test_a_run_of_a_newer_operator_is_reported_and_kept() -> None:
    status = {"step": "train", "conditions": [{"type": "Admitted", "status": "True", "reason": "Admitted"}]}
    plan = refuse(run_manifest(status), "`spec.steps.0.uses`: unknown component")
    assert plan.status == {"step": "train"}
    assert [c.type for c in plan.conditions] == ["Ready", "Admitted", "Stalled"]
    assert "`spec.steps.0.uses`: unknown component" in plan.conditions[0].message


def test_conditions_say_which_step_runs() -> None:
    status: dict[str, Any] = {
        "startTime": STARTED,
        "inputs": [INPUT],
        "steps": [
            {"name": "prepare", "state": "Succeeded", "attempt": 1, "outputs": [OUTPUT]},
            {"name": "train", "state": "Running", "attempt": 1, "jobName": "nightly-train-1"},
            {"name": "register", "state": "Waiting"},
        ],
    }
    job: dict[str, Any] = {
        "metadata": {
            "name": "nightly-train-1",
            "labels": {"modelyard.dev/step": "train", "modelyard.dev/attempt": "1"},
        },
        "spec": {},
    }
    ready = condition(decide(observe(run_manifest(status), jobs=(job,))), "Ready")
    assert (ready.status, ready.reason) == ("Unknown", "Running")
    assert ready.message == "step 2 of 3 'train' is running (attempt 1)"


def test_an_ended_run_keeps_what_it_recorded() -> None:
    status: dict[str, Any] = {
        "startTime": STARTED,
        "completionTime": "2026-01-01T01:00:00Z",
        "step": "train",
        "suspendedSeconds": 0,
        "inputs": [INPUT],
        "steps": [{"name": "train", "state": "Failed", "attempt": 3, "failures": 3, "outputs": []}],
        "metrics": [],
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "OutOfMemory",
                "message": "m",
                "lastTransitionTime": STARTED,
            },
            {"type": "Succeeded", "status": "False", "reason": "OutOfMemory", "lastTransitionTime": STARTED},
        ],
    }
    plan = decide(observe(run_manifest(status), seconds=10_000_000))
    assert plan.status == {name: value for name, value in status.items() if name != "conditions"}
    assert [(c.type, c.reason) for c in plan.conditions] == [("Ready", "OutOfMemory"), ("Succeeded", "OutOfMemory")]
    assert not plan.events
    assert plan.requeue_after is None


STEP: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["prepare", "train", "register", "gone"]),
        "state": st.sampled_from(["Waiting", "Running", "Failed", "Succeeded", "Cached"]),
    },
    optional={
        "attempt": st.integers(0, 5),
        "failures": st.integers(0, 9),
        "outputs": st.sampled_from([[], [OUTPUT], [{**OUTPUT, "name": "model"}]]),
        "jobName": st.just("nightly-train-1"),
        "completionTime": st.just(STARTED),
        "reason": st.sampled_from(["StepFailed", "InvalidModel", "StoreUnreachable"]),
        "message": st.text(max_size=1024),
        "identity": st.just(sha("c")),
        "candidate": st.just({"trainingRun": "earlier", "time": STARTED, "outputs": [OUTPUT]}),
    },
)
STEPS = st.lists(STEP, max_size=4, unique_by=lambda step: str(step["name"]))
STATUS = st.fixed_dictionaries(
    {"startTime": st.just(STARTED), "inputs": st.sampled_from([[], [INPUT]]), "steps": STEPS},
    optional={"suspendedTime": st.just(STARTED), "modelVersionName": st.just("flight-delay-v3")},
)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    step, attempt = draw(st.sampled_from(["prepare", "train", "register"])), draw(st.integers(0, 4))
    type_ = draw(st.sampled_from(["", "Complete", "Failed"]))
    conditions = [{"type": type_, "status": "True", "lastTransitionTime": STARTED}] if type_ else []
    labels = {"modelyard.dev/step": step, "modelyard.dev/attempt": str(attempt)}
    metadata = {"name": f"nightly-{step}-{attempt}", "namespace": "air", "uid": f"{step}-{attempt}", "labels": labels}
    return {"metadata": metadata, "spec": {}, "status": {"conditions": conditions, "startTime": STARTED}}


EARLIER = st.builds(
    EarlierStep,
    run=st.just("earlier"),
    status=STEP.map(lambda step: StepStatus.model_validate({**step, "state": "Succeeded"})),
    version_name=st.sampled_from([None, "flight-delay-v1"]),
)
SEEN = st.sampled_from([None, "Present", "Missing", "Unreachable"])


FACTS = st.fixed_dictionaries(
    {
        "seconds": st.integers(-10, 10_000),
        "jobs": st.lists(jobs(), max_size=5).map(tuple),
        "observation": SEEN.map(
            lambda state: observation(outputs=[{"uri": OUTPUT["uri"], "state": state}] if state else [])
        ),
    }
)


@given(STATUS, FACTS, st.booleans(), st.lists(EARLIER, max_size=2))
def test_decide_is_total_and_settles(
    status: dict[str, Any], facts: dict[str, Any], suspend: bool, earlier: list[EarlierStep]
) -> None:
    """Whatever status, Jobs, agents and other runs say, there is a plan, and the same facts again change nothing."""
    plans = [decided(observe(run_manifest(status, suspend=suspend), **facts), *earlier)]
    for _ in range(LONGEST_CHAIN):
        plans.append(decided(observe(run_manifest(recorded(plans[-1]), suspend=suspend), **facts), *earlier))
    assert plans[-1].status == plans[-2].status
    assert not plans[-1].events


def test_children_name_their_run() -> None:
    child = {
        "metadata": {
            "name": "nightly-train-1-x",
            "namespace": "air",
            "labels": {"modelyard.dev/owner-uid": "run-uid", "modelyard.dev/training-run": "nightly"},
            "ownerReferences": [{"kind": "Job", "uid": "job-uid", "controller": True}],
        }
    }
    assert list(owners_of(child)) == ["run-uid"]
    assert [tuple(key) for key in runs_of(child)] == [("TrainingRun", "air", "nightly")]
    stranger = {"metadata": {"name": "x", "namespace": "air"}}
    assert not list(owners_of(stranger))
    assert not list(runs_of(stranger))


def test_a_version_names_its_maker() -> None:
    version = {"metadata": {"namespace": "air"}, "spec": {"lineage": {"trainingRun": {"name": "nightly"}}}}
    assert [tuple(key) for key in maker_of(version)] == [("TrainingRun", "air", "nightly")]
    assert not list(maker_of({"metadata": {"namespace": "air"}, "spec": {}}))
