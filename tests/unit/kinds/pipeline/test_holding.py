"""A trigger that has to wait is not lost: it starts when it may, together with those that came later."""

import json
from typing import Any

import pytest

from modelyard.api.v1alpha1.pipeline import ConditionType, DeploymentCondition, PipelineStatus
from tests.unit.kinds.pipeline.test_triggers import INPUTS, started
from tests.unit.kinds.pipeline.world import World, spec


def change_data(world: World) -> None:
    world.data["flights"] += 1
    world.observe()
    world.settle()


def test_cooldown_delays_a_change_of_data() -> None:
    world = started(triggers=INPUTS, cooldownSeconds=3600)
    change_data(world)
    assert len(world.created) == 1
    assert world.skipped() == "Cooldown"
    assert "until 2026-01-01T01:00:00Z: DataChanged" in world.status["skipped"]["message"]
    delay = world.reconcile()
    assert delay is not None
    world.wait(seconds=delay)
    world.settle()
    assert world.reasons(world.created[-1]) == ["DataChanged"]
    assert "skipped" not in world.status


@pytest.mark.parametrize(
    "people", [lambda w: w.change_template(seed=9), lambda w: w.run_now("now")], ids=["spec", "manual"]
)
def test_people_do_not_wait_for_the_cooldown_and_take_along_what_does(people: Any) -> None:
    world = started(triggers=INPUTS, cooldownSeconds=3600)
    change_data(world)
    people(world)
    world.settle()
    assert "DataChanged" in world.reasons(world.created[-1])
    assert len(world.created) == 2


def test_cause_that_goes_away_while_it_waits_makes_no_run_and_status_says_so() -> None:
    world = started(triggers=INPUTS, cooldownSeconds=3600)
    change_data(world)
    world.data["flights"] -= 1
    world.observe()
    world.settle()
    assert world.skipped() == "NothingChanged"
    world.wait(hours=2)
    world.settle()
    assert len(world.created) == 1


def test_budget_is_of_any_24_hours() -> None:
    world = started(triggers=INPUTS, maxRunsPerDay=2)
    world.wait(hours=2)
    change_data(world)
    world.finish(world.created[-1])
    world.wait(hours=1)
    change_data(world)
    world.wait(hours=1)
    change_data(world)
    assert len(world.created) == 2
    assert world.skipped() == "BudgetSpent"
    assert "2026-01-02T00:00:00Z" in world.status["skipped"]["message"]
    world.wait(hours=20)
    world.settle()
    assert len(world.created) == 3


def test_manual_run_does_not_wait_for_the_budget_but_counts() -> None:
    world = started(triggers=INPUTS, maxRunsPerDay=1)
    world.wait(hours=5)
    world.run_now("now")
    world.settle()
    world.finish(world.created[-1])
    assert len(world.created) == 2
    world.wait(hours=20)
    change_data(world)
    assert len(world.created) == 2
    world.wait(hours=4)
    world.settle()
    assert len(world.created) == 3


@pytest.mark.parametrize("days", [-3, -0.5, 3])
def test_clock_that_jumps_does_not_stop_runs_for_longer_than_two_days(days: float) -> None:
    world = started(triggers=INPUTS, maxRunsPerDay=1, cooldownSeconds=3600)
    world.wait(days=days)
    change_data(world)
    world.wait(days=2)
    world.settle()
    assert len(world.created) == 2


def test_forbid_waits_for_the_end_of_the_active_run() -> None:
    world = started(triggers=INPUTS)
    world.run_now("long")
    world.settle()
    world.resolve(world.created[-1])
    change_data(world)
    assert world.skipped() == "RunActive"
    assert world.created[-1] in world.status["skipped"]["message"]
    change_data(world)
    world.end(world.created[-1])
    world.settle()
    assert [world.reasons(run) for run in world.created[1:]] == [["Manual"], ["DataChanged"]]


def test_replace_deletes_the_active_run_after_the_new_one_is_made() -> None:
    world = started(triggers=INPUTS, concurrencyPolicy="Replace")
    world.run_now("long")
    world.settle()
    world.resolve(world.created[-1])
    change_data(world)
    assert world.active() == [world.created[-1]]
    assert [run["result"] for run in world.status["recentRuns"]] == ["Running", "Deleted", "Succeeded"]


def test_allow_runs_both() -> None:
    world = started(triggers=INPUTS, concurrencyPolicy="Allow")
    world.run_now("long")
    world.settle()
    world.resolve(world.created[-1])
    change_data(world)
    assert world.active() == world.created[1:]
    assert world.status["runs"] == 3


def test_allow_is_bounded() -> None:
    world = started(concurrencyPolicy="Allow")
    for token in range(30):
        world.run_now(f"run-{token}")
        world.settle()
    assert len(world.active()) == 20
    assert world.skipped() == "RunActive"
    world.finish(world.active()[0])
    assert len(world.active()) == 20


def test_suspended_pipeline_starts_one_run_afterwards() -> None:
    world = started(triggers={**INPUTS, "schedule": {"cron": "0 * * * *"}}, suspend=False)
    world.change(suspend=True)
    world.wait(hours=5)
    change_data(world)
    assert len(world.created) == 1
    assert world.condition("Ready") == ("False", "Suspended")
    assert world.skipped() == "Suspended"
    assert "nextScheduleTime" not in world.status
    world.change(suspend=False)
    world.settle()
    assert world.reasons(world.created[-1]) == ["DataChanged", "Schedule"]
    world.finish(world.created[-1])
    assert len(world.created) == 2


def test_slot_is_given_up_after_its_starting_deadline() -> None:
    world = started(triggers={"schedule": {"cron": "0 3 * * *", "startingDeadlineSeconds": 600}})
    world.run_now("long")
    world.settle()
    world.wait(hours=3)
    world.settle()
    assert world.skipped() == "RunActive"
    delay = world.reconcile()
    assert delay is not None
    assert delay <= 601
    world.wait(seconds=delay)
    world.settle()
    assert world.skipped() == "MissedSchedule"
    world.finish(world.created[-1])
    assert len(world.created) == 2
    assert world.skipped() == "MissedSchedule"


def test_slot_missed_by_less_than_its_starting_deadline_makes_a_run() -> None:
    world = started(triggers={"schedule": {"cron": "0 3 * * *", "startingDeadlineSeconds": 600}})
    world.wait(hours=3, minutes=9)
    world.settle()
    assert len(world.created) == 2


def test_oldest_runs_beyond_the_limits_are_deleted() -> None:
    world = World(spec(successfulRunsHistoryLimit=2, failedRunsHistoryLimit=1))
    for number in range(6):
        world.run_now(f"run-{number}")
        world.settle()
        world.finish(world.active()[0], succeeded=number % 2 == 0)
    assert world.runs() == [world.created[2], world.created[4], world.created[5]]
    assert [run["name"] for run in world.status["recentRuns"]] == world.created[::-1]


def test_history_of_none_keeps_what_status_knows() -> None:
    world = World(spec(triggers=INPUTS, successfulRunsHistoryLimit=0))
    world.settle()
    world.observe()
    world.finish(*world.runs())
    assert world.runs() == []
    world.wait(hours=1)
    world.settle()
    assert len(world.created) == 1
    change_data(world)
    assert len(world.created) == 2


def test_run_that_somebody_deletes_is_not_made_again() -> None:
    world = World()
    world.settle()
    world.delete_run(*world.runs())
    world.settle()
    assert len(world.created) == 1
    assert world.condition("LastRunSucceeded") == ("Unknown", "Deleted")


def test_pass_that_changes_nothing_writes_nothing() -> None:
    world = started(triggers={**INPUTS, "schedule": {"cron": "0 3 * * *"}}, cooldownSeconds=60)
    writes = world.api.writes
    world.restart()
    world.wait(minutes=30)
    world.reconcile()
    assert world.api.writes == writes


def test_status_that_is_as_full_as_it_can_be_fits() -> None:
    digest, time = "sha256:" + "a" * 64, "2026-01-01T00:00:00Z"
    deployments = [
        f"deployments/{'n' * 62}{number}/{'d' * 44}{number}/{on}" for number in range(4) for on in DeploymentCondition
    ]
    status = PipelineStatus.model_validate(
        {
            "observedGeneration": 10**9,
            "runs": 10**9,
            "recentRuns": [
                {
                    "name": f"{number:040d}",
                    "triggerKey": "a" * 16,
                    "reason": "InputsDrifted",
                    "startTime": time,
                    "result": "Succeeded",
                    "modelVersionName": "m" * 58,
                }
                for number in range(20)
            ],
            "lastRunTime": time,
            "lastVersionName": "m" * 58,
            "inputs": [
                {"name": f"{number:040d}", "digest": digest, "observedTime": time, "trainedDigest": digest}
                for number in range(16)
            ],
            "handled": [
                *({"source": f"inputs/{number:040d}", "key": "a" * 16} for number in range(16)),
                *({"source": source, "key": f"{'a' * 16} {time}"} for source in deployments),
                {"source": "manual", "key": "t" * 64},
                {"source": "schedule", "key": f"{time} {'a' * 8}"},
                {"source": "spec", "key": "a" * 16},
            ],
            "skipped": {"reason": "MissedSchedule", "message": "s" * 400, "time": time},
            "nextScheduleTime": time,
            "conditions": [
                {
                    "type": kind,
                    "status": "Unknown",
                    "reason": "DeploymentNotFound",
                    "message": "m" * 256,
                    "lastTransitionTime": time,
                    "observedGeneration": 10**9,
                }
                for kind in ConditionType
            ],
        }
    )
    stored = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert len(json.dumps(stored, separators=(",", ":"))) <= 16 * 1024
