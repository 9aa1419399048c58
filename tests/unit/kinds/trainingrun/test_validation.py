"""The step that checks the inputs, and the profile that it compares them with."""

import json
from typing import Any

import pytest

from modelyard.api.v1alpha1.trainingrun import Output, StepState
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.trainingrun.children import (
    MAX_EXPECTATIONS_BYTES,
    build_validate_job,
    expectations_of,
)
from modelyard.controller.kinds.trainingrun.decide import decide
from modelyard.controller.kinds.trainingrun.previous import previous_profile
from modelyard.handover import outputs_of
from modelyard.steps.validate import read_expectations
from tests.unit.kinds.trainingrun.builders import PREPARE, TRAIN, condition, observe, run_manifest, sha, typed
from tests.unit.kinds.trainingrun.simulation import Cluster
from tests.unit.kinds.trainingrun.test_children import check, environment, expand

EXPECTATIONS = {"minimumRows": 10, "schema": "SameAsPrevious", "columns": [{"name": "$(HOME)", "minimum": "0.5"}]}
FLIGHTS = {"name": "flights", "uri": "s3://air/flights/", "expectations": EXPECTATIONS}
CODE = {"name": "code", "uri": "s3://air/code/"}
SPEC: dict[str, Any] = {"inputs": [FLIGHTS, CODE]}


def resolved(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "uri": f"s3://air/{name}/", "digest": sha("a")} for name in names]


def output(name: str, letter: str) -> dict[str, Any]:
    return {"name": name, "uri": f"s3://air/blobs/sha256/{letter * 64}", "digest": sha(letter), "bytes": 9}


def profile(letter: str = "9") -> Output:
    return Output.model_validate(output("profile", letter))


def ended(name: str, time: str, status: str = "True", letter: str = "9", **changes: Any) -> Manifest:
    """A run that has ended, with a profile."""
    outcome = {"type": "Succeeded", "status": status, "reason": "X", "lastTransitionTime": time}
    steps = [{"name": "validate", "state": "Succeeded", "outputs": [output("profile", letter)]}]
    manifest = run_manifest({"completionTime": time, "conditions": [outcome], "steps": steps, **changes}, **SPEC)
    return {**manifest, "metadata": {**manifest["metadata"], "name": name, "uid": name}}


def test_the_job_that_validates() -> None:
    observed = observe(run_manifest({"inputs": resolved("flights", "code")}, **SPEC), previous_profile=profile())
    job = build_validate_job(observed, 1)
    check("validate-job", job)
    fetch, validate = job["spec"]["template"]["spec"]["initContainers"]
    sources = json.loads(environment(fetch)["MODELYARD_SOURCES"])
    assert [source["name"] for source in sources] == ["flights", "previous"]
    assert "envFrom" not in validate
    asked = json.loads(expand(environment(validate)["MODELYARD_EXPECTATIONS"]))
    assert asked["flights"]["columns"][0]["name"] == "$(HOME)"


@pytest.mark.parametrize("expectations", [{}, EXPECTATIONS, {"columns": [{"name": "a"}], "timeColumn": "t"}], ids=str)
def test_validate_reads_what_the_operator_passes_on(
    expectations: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expectation without `categories` was once passed on with an empty list, which the step then refused."""
    spec = typed(run_manifest(inputs=[{**FLIGHTS, "expectations": expectations}])).spec
    monkeypatch.setenv("MODELYARD_EXPECTATIONS", expectations_of(spec))
    assert read_expectations() == {"flights": spec.inputs[0].expectations}


@pytest.mark.parametrize(
    ("expectations", "first"), [(EXPECTATIONS, "validate"), ({}, "validate"), (None, "prepare")], ids=str
)
def test_inputs_with_expectations_are_checked_first(expectations: Any, first: str) -> None:
    item = {"name": "flights", "uri": "s3://air/flights/"} | (
        {} if expectations is None else {"expectations": expectations}
    )
    assert observe(run_manifest(inputs=[item])).step_names[0] == first


def test_validation_goes_before_the_first_step_and_its_profile_is_kept() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec_of(SPEC))
    cluster.settle()
    assert cluster.created == ["one-validate-1", "one-prepare-1", "one-train-1", "one-register-1"]
    steps = cluster.run("one")["status"]["steps"]
    assert [(s["name"], s["state"]) for s in steps[:1]] == [("validate", "Succeeded")]
    assert [o["name"] for o in steps[0]["outputs"]] == ["profile"]


def test_second_run_reads_the_profile_of_the_first() -> None:
    cluster = Cluster()
    for name in ("one", "two"):
        cluster.add_run(name, spec_of(SPEC))
        cluster.settle()
    known = cluster.run("one")["status"]["steps"][0]["outputs"][0]
    jobs = {job["metadata"]["name"]: job for job in cluster.of_kind("Job")}
    fetch = jobs["two-validate-1"]["spec"]["template"]["spec"]["initContainers"][0]
    sources = {s["name"]: s for s in json.loads(expand(environment(fetch)["MODELYARD_SOURCES"]))}
    assert sources["previous"]["digest"] == known["digest"]


def test_invalid_data_ends_the_run_at_once() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec_of(SPEC))
    cluster.settle("DataInvalid")
    assert cluster.created == ["one-validate-1"]
    stalled = cluster.condition("one", "Stalled")
    assert stalled["reason"] == "DataInvalid"
    assert stalled["message"].startswith("step 'validate' failed in attempt 1, which another attempt cannot cure")


def test_profile_is_no_output_of_a_users_step() -> None:
    steps = [
        {"name": "validate", "state": "Succeeded", "outputs": [output("profile", "1")]},
        {"name": "prepare", "state": "Succeeded", "outputs": [output("features", "2")]},
    ]
    assert list(outputs_of(observe(run_manifest({"steps": steps}, **SPEC)).run)) == ["features"]


def test_success_without_a_profile_is_none() -> None:
    observed = observe(run_manifest({"steps": [{"name": "validate", "state": "Succeeded", "attempt": 1}]}, **SPEC))
    assert observed.recorded("validate").state is StepState.WAITING


def test_previous_profile_is_that_of_the_newest_success() -> None:
    runs = [
        ended("old", "2026-01-01T00:00:00Z", letter="1"),
        ended("newest", "2026-01-03T00:00:00Z", letter="3"),
        ended("middle", "2026-01-02T00:00:00Z", letter="2"),
        ended("failed", "2026-01-04T00:00:00Z", status="False"),
        ended("unchecked", "2026-01-05T00:00:00Z", steps=[]),
        ended("me", "2026-01-06T00:00:00Z"),
        {"metadata": {"name": "newer", "namespace": "air", "uid": "newer"}, "spec": {"model": 7}},
    ]
    for order in (runs, runs[::-1]):
        assert previous_profile(order, "me") == profile("3")
    assert previous_profile(runs[3:], "me") is None


def test_expectations_that_fit_no_environment_variable_are_refused() -> None:
    columns = [{"name": f"c{i}", "categories": [f"{j:0>100}" for j in range(64)]} for i in range(20)]
    flights = {**FLIGHTS, "expectations": {"columns": columns}}
    plan = decide(observe(run_manifest(inputs=[flights], steps=[PREPARE, TRAIN])))
    stalled = condition(plan, "Stalled")
    assert (stalled.reason, str(MAX_EXPECTATIONS_BYTES) in stalled.message) == ("InvalidSpec", True)


def spec_of(changes: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = run_manifest(**changes)["spec"]
    return spec
