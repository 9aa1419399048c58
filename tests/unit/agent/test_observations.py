from typing import Any

import pytest

from modelyard.agent import observations
from modelyard.agent.sightings import error
from modelyard.agent.subjects import Reference, Run, Version, read_pipeline, read_run, read_version

RUN = Reference("TrainingRun", "flights-1", "uid-1")
INPUT = {"name": "flights", "digest": "sha256:" + "a" * 64, "bytes": 5}
SEEN = {"inputs": [INPUT], "results": []}


def _spec(seen: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = observations.build_observation(RUN, seen, "2026-01-01T00:00:00Z")["spec"]
    return spec


def test_observation_is_named_after_and_owned_by_its_subject() -> None:
    manifest = observations.build_observation(RUN, SEEN, "2026-01-01T00:00:00Z")
    assert manifest["metadata"] == {
        "name": "trainingrun-flights-1",
        "ownerReferences": [
            {"apiVersion": "modelyard.dev/v1alpha1", "kind": "TrainingRun", "name": "flights-1", "uid": "uid-1"}
        ],
    }
    assert manifest["spec"]["subject"] == {"kind": "TrainingRun", "name": "flights-1", "uid": "uid-1"}


def test_time_and_defaults_are_no_change() -> None:
    kept = {**_spec(SEEN), "observedTime": "2020-01-01T00:00:00Z"}
    assert observations.says(kept, RUN, SEEN)
    failed = {"inputs": [{"name": "flights", "error": error("InputNotFound", "m")}], "results": []}
    defaulted = {**_spec(failed), "inputs": [{**failed["inputs"][0], "bytes": 0}]}
    del defaulted["results"]
    assert observations.says(defaulted, RUN, failed)


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": [{**INPUT, "digest": "sha256:" + "b" * 64}], "results": []},
        {"inputs": [{"name": "flights", "error": error("InputNotFound", "m")}], "results": []},
        {"inputs": [INPUT, {**INPUT, "name": "weather"}], "results": []},
        {"inputs": [], "results": []},
        {"inputs": [INPUT], "results": [{"step": "train", "attempt": 1, "result": "{}"}]},
    ],
)
def test_anything_else_is_a_change(other: dict[str, Any]) -> None:
    assert not observations.says(_spec(SEEN), RUN, other)
    assert not observations.says(_spec(other), RUN, SEEN)


def test_another_object_of_the_same_name_is_a_change() -> None:
    assert not observations.says(_spec(SEEN), Reference("TrainingRun", "flights-1", "uid-2"), SEEN)


def test_nothing_seen_needs_no_observation() -> None:
    assert observations.says(None, RUN, {"inputs": [], "results": []})
    assert not observations.says(None, RUN, SEEN)


def test_messages_fit_the_definition() -> None:
    assert len(observations.artifact("d", "Corrupt", "m" * 5000)["artifact"]["message"]) == 1024


def _run(**status: Any) -> dict[str, Any]:
    spec = {"inputs": [{"name": "flights", "uri": "s3://b/f.csv", "digest": "sha256:x"}]}
    return {"metadata": {"name": "flights-1", "uid": "uid-1"}, "spec": spec, "status": status}


def test_run_is_read_with_what_is_left_to_observe() -> None:
    run = read_run(_run())
    assert isinstance(run, Run)
    assert (run.resolved, run.running) == (False, ())
    assert run.inputs[0].pinned == "sha256:x"
    steps = [
        {"name": "prepare", "state": "Succeeded", "attempt": 1},
        {"name": "train", "state": "Running", "attempt": 2},
    ]
    run = read_run(_run(inputs=[{"name": "flights"}], steps=steps))
    assert run is not None
    assert (run.resolved, run.running) == (True, (("train", 2),))


def test_finished_run_is_left_alone() -> None:
    assert read_run(_run(completionTime="2026-01-01T00:00:00Z")) is None


def test_version_is_read_without_its_status() -> None:
    manifest = {
        "metadata": {"name": "m-v1", "uid": "u"},
        "spec": {"artifact": {"uri": "s3://b/x", "digest": "d"}},
        "status": {"champion": "Yes"},
    }
    assert read_version(manifest) == Version(Reference("ModelVersion", "m-v1", "u"), "s3://b/x", "d")


def _pipeline(inputs: Any, **spec: Any) -> dict[str, Any]:
    template = [
        {"name": "flights", "uri": "s3://b/f/"},
        {"name": "weather", "uri": "s3://b/w/"},
        {"name": "fixed", "uri": "s3://b/x", "digest": "sha256:x"},
    ]
    triggers = {} if inputs is None else {"inputs": inputs}
    document = {"triggers": triggers, "template": {"spec": {"inputs": template}}, **spec}
    return {"metadata": {"name": "flights", "uid": "uid-1"}, "spec": document}


@pytest.mark.parametrize(
    ("inputs", "names", "seconds"),
    [
        ({"names": ["flights"], "pollSeconds": 60}, ["flights"], 60),
        ({"names": ["weather", "fixed", "gone"]}, ["weather"], 300),
        ({}, ["flights", "weather"], 300),
        ({"names": []}, ["flights", "weather"], 300),
    ],
)
def test_pipeline_is_read_with_the_inputs_that_it_watches(inputs: Any, names: list[str], seconds: float) -> None:
    pipeline = read_pipeline(_pipeline(inputs))
    assert pipeline is not None
    assert pipeline.reference.observation == "pipeline-flights"
    assert [item.name for item in pipeline.inputs] == names
    assert pipeline.poll_seconds == seconds


@pytest.mark.parametrize(
    "manifest",
    [
        _pipeline(None),
        _pipeline({}, suspend=True),
        _pipeline({"names": ["gone", "fixed"]}),
        _pipeline({}, template={"spec": {"model": "m"}}),
    ],
)
def test_pipeline_that_watches_no_input_is_left_alone(manifest: dict[str, Any]) -> None:
    assert read_pipeline(manifest) is None


def test_run_shows_progress_of_the_steps_that_ask_for_it() -> None:
    steps = [{"name": "prepare"}, {"name": "train", "progress": "Live"}, {"name": "check", "progress": "AtEnd"}]
    manifest = {"metadata": {"name": "r", "uid": "u"}, "spec": {"steps": steps}}
    run = read_run(manifest)
    assert run
    assert run.live == {"train"}


def test_part_that_is_none_is_left_out() -> None:
    assert "progress" not in _spec({**SEEN, "progress": None})
    assert observations.says(_spec(SEEN), RUN, {**SEEN, "progress": None})
    assert not observations.says(_spec(SEEN), RUN, {**SEEN, "progress": {"percentage": 1}})
