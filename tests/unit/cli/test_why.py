from typing import Any

import pytest

from modelyard.api.v1alpha1 import Deployment, ModelVersion, Pipeline, TrainingRun
from modelyard.api.v1alpha1.trainingrun import RunTrigger, StepState, TriggerReason
from modelyard.cli.cluster import ClusterError, parse_reference
from modelyard.cli.why import Mark, why_deployment, why_model_version, why_pipeline, why_training_run

DIGEST = "sha256:" + "a" * 64


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


def training_run(**status: Any) -> TrainingRun:
    return TrainingRun.model_validate(
        {
            "metadata": {"name": "run-1", "namespace": "air", "uid": "u"},
            "spec": {"model": "m", "steps": [{"name": "train", "image": "i", "outputs": ["model"]}]},
            "status": status,
        }
    )


def model_version(number: int = 1, **status: Any) -> ModelVersion:
    return ModelVersion.model_validate(
        {
            "metadata": {"name": f"m-v{number}", "namespace": "air", "uid": "u"},
            "spec": {"model": "m", "version": number, "artifact": {"uri": "s3://b/m/", "digest": DIGEST}},
            "status": status,
        }
    )


def test_why_names_the_blocker_and_who_can_lift_it() -> None:
    run = training_run(
        conditions=[
            condition("Ready", "False", "InputNotFound", "s3://air/flights/ holds no object"),
            condition("InputsResolved", "False", "InputNotFound"),
        ]
    )
    explanation = why_training_run(run)
    assert explanation.blocker == "InputNotFound: s3://air/flights/ holds no object"
    assert "store" in (explanation.who or "")
    assert [line.mark for line in explanation.lines[:2]] == [Mark.PENDING, Mark.BLOCKED]


def test_why_says_that_the_operator_has_not_seen_an_object_without_conditions() -> None:
    assert "operator has not seen it" in (why_training_run(training_run()).blocker or "")


def test_why_lists_steps_of_the_spec_before_they_start() -> None:
    texts = [line.text for line in why_training_run(training_run()).lines]
    assert "step train waiting" in texts


def test_why_shows_the_step_that_the_operator_adds() -> None:
    steps = [
        {"name": "train", "state": "Succeeded", "attempt": 2},
        {"name": "register", "state": "Running", "attempt": 1},
    ]
    texts = [line.text for line in why_training_run(training_run(steps=steps)).lines]
    assert texts[2:4] == ["step train succeeded, attempt 2", "step register running"]


def test_why_is_content_with_a_ready_version() -> None:
    explanation = why_model_version(model_version(conditions=[condition("Ready", "True", "Available")]))
    assert explanation.blocker is None
    assert explanation.verdict == "Nothing blocks it."


def test_why_lists_the_versions_that_a_deployment_could_have_meant() -> None:
    deployment = Deployment.model_validate(
        {
            "metadata": {"name": "d", "namespace": "air", "uid": "u"},
            "spec": {"model": {"name": "m", "version": 7}},
            "status": {"conditions": [condition("Ready", "False", "VersionNotFound", "m-v7 does not exist")]},
        }
    )
    explanation = why_deployment(deployment, [model_version(2), model_version(1)])
    assert explanation.lines[-1].text.endswith("v1, v2")
    assert explanation.blocker == "VersionNotFound: m-v7 does not exist"


@pytest.mark.parametrize("text", ["trun", "trun/", "pod/x", ""])
def test_reference_that_is_none_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ClusterError, match="must be"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "kind"), [("trun/a", TrainingRun), ("MDEP/a", Deployment), ("modelversions/a", ModelVersion)]
)
def test_reference_takes_short_names_and_plurals(text: str, kind: type) -> None:
    assert parse_reference(text) == (kind, "a")


def pipeline(**status: Any) -> Pipeline:
    spec = {"template": {"spec": {"model": "m", "steps": [{"name": "train", "image": "i"}]}}}
    metadata = {"name": "nightly", "namespace": "air", "uid": "u"}
    return Pipeline.model_validate({"metadata": metadata, "spec": spec, "status": status})


def test_why_of_a_pipeline_names_what_was_skipped_and_the_newest_runs() -> None:
    time = "2026-01-01T03:00:00Z"
    runs = [
        {
            "name": f"nightly-{number}",
            "triggerKey": "a" * 16,
            "reason": "Schedule",
            "startTime": time,
            "result": result,
            "modelVersionName": "m-v1" if result == "Succeeded" else None,
        }
        for number, result in enumerate(["Failed", "Succeeded", "Deleted", "Succeeded"])
    ]
    skipped = {"reason": "Cooldown", "message": "cools down until later: DataChanged", "time": time}
    explanation = why_pipeline(
        pipeline(
            conditions=[
                condition("Ready", "False", "InvalidSchedule", "`spec.triggers.schedule.cron`: Bad hour"),
                condition("ScheduleValid", "False", "InvalidSchedule", "Bad hour"),
            ],
            recentRuns=runs,
            skipped=skipped,
            nextScheduleTime=time,
        )
    )
    assert explanation.blocker == "InvalidSchedule: `spec.triggers.schedule.cron`: Bad hour"
    assert explanation.who == "the author of the object can lift it"
    marks = [line.mark for line in explanation.lines]
    assert marks == [Mark.BLOCKED, Mark.BLOCKED, Mark.DONE, Mark.BLOCKED, Mark.PENDING, Mark.PENDING]
    assert "made m-v1" in explanation.lines[2].text
    assert "Cooldown" in explanation.lines[4].text


def test_why_of_a_run_says_what_made_it() -> None:
    run = training_run()
    trigger = RunTrigger(reason=TriggerReason.MANUAL, key="a" * 16, number=1, message="Manual: asked for")
    made = run.model_copy(update={"spec": run.spec.model_copy(update={"trigger": trigger})})
    assert "Manual: asked for" in why_training_run(made).lines[0].text


@pytest.mark.parametrize("state", list(StepState))
def test_every_state_of_a_step_can_be_shown(state: StepState) -> None:
    found = why_training_run(training_run(steps=[{"name": "train", "state": state, "resumes": 2}]))
    assert any(f"step train {state.lower()}, resumed 2 times" in line.text for line in found.lines)
