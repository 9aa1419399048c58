"""What makes a run, and what does not."""

import copy
from typing import Any

import pytest

from modelyard.api.v1alpha1.pipeline import Pipeline
from modelyard.api.v1alpha1.trainingrun import TrainingRunSpec
from modelyard.controller.kinds.pipeline.observed import Observed
from modelyard.controller.kinds.pipeline.triggers import causes, template_digest
from tests.unit.kinds.pipeline.world import NAMESPACE, TEMPLATE, World, digest, spec

INPUTS = {"inputs": {"names": ["flights"], "pollSeconds": 60}}


def started(**body: Any) -> World:
    """Return a world whose first run has read its inputs and succeeded."""
    world = World(spec(**body))
    world.settle()
    (first,) = world.runs()
    world.observe()
    world.finish(first)
    return world


def new_run(world: World) -> str:
    """Return the one run that was made since the first."""
    _, second = world.created
    return second


def test_first_run_is_made_from_the_template() -> None:
    world = World(
        spec(requestedBy="alice@example.com", template={"metadata": {"labels": {"team": "ops"}}, "spec": TEMPLATE})
    )
    world.settle()
    (name,) = world.runs()
    run = world.run(name)
    assert {key: run["spec"][key] for key in TEMPLATE} == TEMPLATE
    assert run["spec"]["requestedBy"] == "alice@example.com"
    assert run["spec"]["trigger"]["reason"] == "SpecChanged"
    assert run["metadata"]["labels"].items() >= {"team": "ops", "modelyard.dev/pipeline": "nightly"}.items()
    (owner,) = run["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"]) == ("Pipeline", True)
    assert name == f"nightly-{run['spec']['trigger']['key'][:8]}"


def test_run_that_ends_is_remembered_with_its_version() -> None:
    world = started()
    (run,) = world.status["recentRuns"]
    assert (run["result"], run["modelVersionName"]) == ("Succeeded", "delay-v1")
    assert world.status["lastVersionName"] == "delay-v1"
    assert world.condition("LastRunSucceeded") == ("True", "Succeeded")
    assert [event.reason for event in world.recorder.events] == ["RunCreated", "RunSucceeded"]


def test_failed_run_is_reported_and_not_repeated() -> None:
    world = World()
    world.settle()
    world.finish(*world.runs(), succeeded=False)
    world.wait(days=3)
    world.settle()
    assert len(world.created) == 1
    assert world.condition("LastRunSucceeded") == ("False", "Failed")
    assert "as it ended" in world.message("LastRunSucceeded")
    assert world.condition("Ready") == ("True", "Watching")


def test_changed_template_runs_again_also_when_it_is_changed_back() -> None:
    world = started()
    for seed in (2, 0):
        world.change_template(seed=seed)
        world.settle()
        world.finish(world.active()[0])
    assert [world.reasons(run) for run in world.created] == [["SpecChanged"]] * 3


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 0},
        {"backoffLimit": 3},
        {"suspend": False},
        {"ttlSecondsAfterFinished": 60},
        {"fromTheFuture": "default"},
    ],
    ids=str,
)
def test_default_that_an_operator_adds_is_no_change(fields: dict[str, Any]) -> None:
    world = started()
    world.change_template(**fields)
    world.settle()
    assert len(world.created) == 1


def test_digest_of_a_template_never_changes() -> None:
    """Another digest of the same template would run every Pipeline in the world again after an upgrade."""
    assert template_digest(TrainingRunSpec.model_validate(TEMPLATE)) == "f7aec13de30865b6"


def test_template_that_does_not_count_makes_no_run() -> None:
    world = World(spec(triggers={"spec": "Never"}))
    world.settle()
    world.change_template(seed=2)
    world.settle()
    assert world.created == []
    world.run_now("once")
    world.settle()
    assert [world.reasons(run) for run in world.created] == [["Manual"]]


def test_changed_input_makes_one_run() -> None:
    world = started(triggers=INPUTS)
    world.data["flights"] += 1
    world.observe()
    world.settle()
    assert world.reasons(new_run(world)) == ["DataChanged"]
    world.finish(new_run(world))
    assert len(world.created) == 2
    assert world.status["inputs"][0]["trainedDigest"] == world.digest("flights")


def test_input_that_is_not_watched_makes_no_run() -> None:
    world = started(triggers=INPUTS)
    world.data["code"] += 1
    world.observe()
    world.settle()
    assert len(world.created) == 1
    assert [item["name"] for item in world.status["inputs"]] == ["flights"]


def test_inputs_without_names_are_all_those_without_a_digest() -> None:
    pinned = {"name": "planes", "uri": "s3://air/planes", "digest": digest("planes")}
    world = World(
        spec(triggers={"inputs": {}}, template={"spec": {**TEMPLATE, "inputs": [*TEMPLATE["inputs"], pinned]}})
    )
    world.settle()
    assert [item["name"] for item in world.status["inputs"]] == ["flights", "code"]


def test_repository_is_code() -> None:
    world = started(triggers={"inputs": {}})
    world.data["code"] += 1
    world.observe()
    pipeline = Pipeline.model_validate(world.pipeline)
    template = pipeline.spec.template
    code = template.spec.inputs[1].model_copy(update={"uri": "git+https://example.com/air.git@main"})
    asked = template.spec.model_copy(update={"inputs": (template.spec.inputs[0], code)})
    changed = pipeline.spec.model_copy(update={"template": template.model_copy(update={"spec": asked})})
    seen = tuple(item.model_copy(update={"digest": world.digest(item.name)}) for item in pipeline.status.inputs)
    status = pipeline.status.model_copy(update={"inputs": seen})
    observed = Observed(world.pipeline, pipeline.model_copy(update={"spec": changed}), world.now)
    found = [cause for cause in causes(observed, status) if cause.source == "inputs/code"]
    assert [cause.reason for cause in found] == ["CodeChanged"]


def test_input_written_again_with_the_same_content_makes_no_run_and_status_says_so() -> None:
    world = started(triggers=INPUTS)
    world.wait(hours=1)
    world.observe(error="StoreUnreachable")
    world.settle()
    assert world.condition("InputsObserved") == ("False", "StoreUnreachable")
    assert world.condition("Ready") == ("False", "StoreUnreachable")
    assert world.skipped() == ""
    world.wait(hours=1)
    world.observe()
    world.settle()
    assert len(world.created) == 1
    assert world.skipped() == "NothingChanged"
    assert world.condition("Ready") == ("True", "Watching")


def test_what_was_seen_at_the_old_uri_of_an_input_says_nothing_of_the_new_one() -> None:
    world = World(spec(triggers={"spec": "Never", **INPUTS}))
    world.observe()
    world.settle()
    world.finish(world.runs()[0])
    inputs = world.pipeline["spec"]["template"]["spec"]["inputs"]
    moved = [{**item, "uri": "s3://elsewhere/"} if item["name"] == "flights" else item for item in inputs]
    world.data["flights"] += 1
    world.observe()
    world.change_template(inputs=moved)
    world.wait(hours=1)
    world.settle()
    assert len(world.created) == 1
    world.observe()
    world.settle()
    assert len(world.created) == 2


def test_run_that_has_yet_to_read_its_inputs_reads_what_changes_meanwhile() -> None:
    world = started(triggers=INPUTS, concurrencyPolicy="Allow")
    world.data["flights"] += 1
    world.observe()
    world.settle()
    world.data["flights"] += 1
    world.observe()
    world.settle()
    world.finish(new_run(world))
    assert len(world.created) == 2


def test_run_that_reads_something_newer_than_the_agent_reported_is_no_change() -> None:
    """The agent looks at the run's inputs at once, at the Pipeline's only every `pollSeconds`."""
    world = started(triggers=INPUTS)
    world.data["flights"] += 1
    world.observe()
    world.settle()
    world.data["flights"] += 1
    world.finish(new_run(world))
    assert len(world.created) == 2
    world.observe()
    world.settle()
    assert len(world.created) == 2


def test_content_of_which_the_agent_reported_while_a_newer_one_was_read_makes_a_run_when_it_comes_back() -> None:
    world = started(triggers=INPUTS)
    world.data["flights"] = 1
    world.observe()
    world.settle()
    world.data["flights"] = 2
    world.finish(new_run(world))
    for content in (2, 1):
        world.data["flights"] = content
        world.observe()
        world.settle()
    assert world.reasons(world.created[-1]) == ["DataChanged"]
    assert len(world.created) == 3


def test_run_that_replaces_one_that_has_read_nothing_handles_the_data_of_that_moment() -> None:
    world = started(triggers=INPUTS, concurrencyPolicy="Replace")
    world.run_now("first")
    world.settle()
    world.data["flights"] = 1
    world.observe()
    world.settle()
    world.run_now("second")
    world.settle()
    world.data["flights"] = 2
    world.finish(world.active()[0])
    assert len(world.created) == 3


def test_what_the_agent_saw_elsewhere_says_nothing_of_an_input() -> None:
    world = started(triggers=INPUTS)
    flights, code = TEMPLATE["inputs"]
    world.data["flights"] = 1
    world.observe()
    world.change_template(inputs=[{**flights, "uri": "s3://air/elsewhere/"}, code])
    world.settle()
    assert world.reasons(new_run(world)) == ["SpecChanged"]
    assert world.condition("InputsObserved") == ("Unknown", "Observing")


def test_content_that_comes_back_makes_a_run() -> None:
    world = started(triggers=INPUTS)
    for content in (1, 0):
        world.data["flights"] = content
        world.observe()
        world.settle()
        world.finish(world.active()[0])
    assert len(world.created) == 3


def test_data_that_came_after_a_run_had_given_up_on_it_makes_a_run() -> None:
    world = World(spec(triggers=INPUTS))
    world.observe(error="InputNotFound")
    world.settle()
    (first,) = world.created
    world.end(first, succeeded=False)
    world.settle()
    assert len(world.created) == 1
    world.observe()
    world.settle()
    assert world.reasons(new_run(world)) == ["DataChanged"]


def test_run_that_failed_before_it_read_its_inputs_is_not_repeated() -> None:
    world = started(triggers=INPUTS)
    world.data["flights"] += 1
    world.observe()
    world.settle()
    world.end(new_run(world), succeeded=False)
    world.settle()
    assert len(world.created) == 2


def test_what_production_says_makes_one_run_each_time_it_begins() -> None:
    watched = {"name": "delay", "namespace": "air-production", "on": ["InputsDrifted", "AccuracyLost"]}
    world = started(triggers={"deployments": [watched]})
    assert world.condition("DeploymentsWatched") == ("False", "DeploymentNotFound")
    world.production("InputsStable", "True")
    world.settle()
    assert world.condition("Ready") == ("True", "Watching")
    for hours in (1, 2):
        world.wait(hours=hours)
        world.production("InputsStable", "False")
        world.settle()
        world.finish(world.active()[0])
        world.wait(days=1)
        world.settle()
    assert [world.reasons(run) for run in world.created[1:]] == [["InputsDrifted"], ["InputsDrifted"]]
    world.production("AccuracyHeld", "False")
    world.settle()
    assert world.reasons(world.created[-1]) == ["AccuracyLost"]
    assert "by 0.4" in world.run(world.created[-1])["spec"]["trigger"]["message"]


@pytest.mark.parametrize("namespace", ["sea", "nobody"])
def test_deployment_of_another_tenant_is_not_listened_to(namespace: str) -> None:
    watched = {"name": "delay", "namespace": namespace, "on": ["InputsDrifted"]}
    world = World(spec(triggers={"spec": "Never", "deployments": [watched]}))
    world.production("InputsStable", "False", namespace=namespace)
    world.settle()
    assert world.created == []
    assert world.condition("Ready") == ("False", "TenantMismatch")
    assert f"'{namespace}'" in world.message("Ready")


def test_deployment_of_the_own_namespace_needs_no_tenant() -> None:
    watched = {"name": "delay", "namespace": NAMESPACE, "on": ["InputsDrifted"]}
    world = World(spec(triggers={"spec": "Never", "deployments": [watched]}))
    world.api.tenants.clear()
    world.production("InputsStable", "False", namespace=NAMESPACE)
    world.settle()
    assert [world.reasons(run) for run in world.created] == [["InputsDrifted"]]


def test_each_token_makes_one_run() -> None:
    world = started()
    for token in ("a", "a", "b" * 300, "b" * 300, ""):
        world.run_now(token)
        world.settle()
        for run in world.active():
            world.finish(run)
    assert [world.reasons(run) for run in world.created] == [["SpecChanged"], ["Manual"], ["Manual"]]


def test_causes_of_one_moment_make_one_run_that_names_them_all() -> None:
    world = started(triggers=INPUTS)
    world.data["flights"] += 1
    world.observe()
    world.change_template(seed=3)
    world.run_now("now")
    world.settle()
    assert world.reasons(new_run(world)) == ["Manual", "SpecChanged", "DataChanged"]
    assert world.run(new_run(world))["spec"]["trigger"]["reason"] == "Manual"
    world.finish(new_run(world))
    assert len(world.created) == 2


def test_run_whose_creation_was_not_answered_is_found_before_another_one_is_made() -> None:
    world = started()
    world.run_now("first")
    world.sync()
    world.reconcile("lost")
    assert world.reasons(new_run(world)) == ["Manual"]
    world.change_template(seed=3)
    world.sync("Pipeline")
    world.reconcile()
    world.settle()
    world.finish(new_run(world))
    assert [world.reasons(run) for run in world.created] == [["SpecChanged"], ["Manual"], ["SpecChanged"]]


def test_slot_makes_one_run() -> None:
    world = started(triggers={"schedule": {"cron": "0 3 * * *", "timeZone": "Europe/Berlin"}})
    assert world.status["nextScheduleTime"] == "2026-01-01T02:00:00Z"
    world.wait(hours=1, minutes=59)
    world.settle()
    assert len(world.created) == 1
    world.wait(minutes=1)
    world.settle()
    assert world.reasons(new_run(world)) == ["Schedule"]
    assert "2026-01-01 03:00 Europe/Berlin" in world.run(new_run(world))["spec"]["trigger"]["message"]
    assert world.status["nextScheduleTime"] == "2026-01-02T02:00:00Z"


def test_of_many_missed_slots_the_newest_makes_a_run() -> None:
    world = started(triggers={"schedule": {"cron": "0 3 * * *"}})
    world.wait(days=20)
    world.settle()
    world.finish(new_run(world))
    assert len(world.created) == 2
    assert "2026-01-20 03:00" in world.run(new_run(world))["spec"]["trigger"]["message"]


def test_clock_that_is_set_back_runs_no_slot_again() -> None:
    world = started(triggers={"schedule": {"cron": "0 * * * *"}})
    world.wait(hours=1)
    world.settle()
    world.finish(new_run(world))
    world.wait(minutes=-30)
    world.settle()
    world.wait(minutes=30)
    world.settle()
    assert len(world.created) == 2
    world.wait(hours=1)
    world.settle()
    assert len(world.created) == 3


def test_clock_that_was_a_year_ahead_does_not_stop_the_schedule() -> None:
    world = started(triggers={"schedule": {"cron": "0 * * * *"}})
    world.wait(days=365)
    world.settle()
    world.finish(new_run(world))
    world.wait(days=-365)
    world.settle()
    world.wait(hours=2)
    world.settle()
    assert len(world.created) == 3


def test_changed_schedule_makes_up_for_no_slot_of_before() -> None:
    world = started(triggers={"schedule": {"cron": "0 3 * * *"}})
    world.wait(hours=10)
    world.settle()
    world.finish(new_run(world))
    world.change(triggers={"schedule": {"cron": "0 9 * * *"}})
    world.settle()
    assert len(world.created) == 2
    assert world.status["nextScheduleTime"] == "2026-01-02T09:00:00Z"


def test_slot_that_came_before_the_operator_first_looked_is_not_lost() -> None:
    world = World(spec(triggers={"spec": "Never", "schedule": {"cron": "0 3 * * *"}}))
    world.wait(hours=4)
    world.settle()
    assert [world.reasons(run) for run in world.created] == [["Schedule"]]


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({"cron": "61 3 * * *"}, "`spec.triggers.schedule.cron`"),
        ({"cron": "0 0 */20 * 1L"}, "`spec.triggers.schedule.cron`"),
        ({"cron": "0 3 * * *", "timeZone": "Mars/Olympus"}, "`spec.triggers.schedule.timeZone`: 'Mars/Olympus'"),
    ],
)
def test_schedule_that_cannot_be_read_is_named_and_other_triggers_work(schedule: dict[str, str], field: str) -> None:
    world = started(triggers={"schedule": schedule})
    assert world.condition("Ready") == ("False", "InvalidSchedule")
    assert world.condition("Stalled") == ("True", "InvalidSchedule")
    assert world.message("ScheduleValid").startswith(field)
    world.run_now("now")
    world.settle()
    assert world.reasons(new_run(world)) == ["Manual"]
    world.change(triggers={"schedule": {"cron": "0 3 * * *"}})
    world.settle()
    assert world.condition("Stalled") is None


def test_namespace_without_an_agent_is_named() -> None:
    world = World(spec(triggers=INPUTS))
    world.settle()
    assert world.condition("InputsObserved") == ("Unknown", "Observing")
    assert 0 < (world.reconcile() or 0) <= 61
    world.wait(seconds=61)
    world.settle()
    assert world.condition("Ready") == ("Unknown", "NoAgent")


def test_pipeline_of_a_newer_operator_is_left_alone() -> None:
    world = started()
    broken = copy.deepcopy(world.pipeline)
    broken["spec"]["concurrencyPolicy"] = "Sometimes"
    world.api.put(broken)
    world.settle()
    assert world.condition("Ready") == ("False", "InvalidSpec")
    assert "concurrencyPolicy" in world.message("Ready")
    assert len(world.status["recentRuns"]) == 1


def test_namespaces_are_read_once_a_minute() -> None:
    watched = [{"name": name, "namespace": "air-production", "on": ["InputsDrifted"]} for name in ("delay", "late")]
    world = World(spec(triggers={"deployments": watched}))
    world.settle()
    world.api.tenants["air-production"] = "sea"
    world.wait(seconds=30)
    world.settle()
    assert world.condition("DeploymentsWatched") == ("False", "DeploymentNotFound")
    world.wait(seconds=31)
    world.settle()
    assert world.condition("DeploymentsWatched") == ("False", "TenantMismatch")
