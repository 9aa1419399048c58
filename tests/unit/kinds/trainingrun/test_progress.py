"""What a running step says of itself, as agents saw it, in status."""

import copy
from typing import Any

from modelyard.api.v1alpha1.names import observation_name
from tests.unit.kinds.trainingrun.builders import PREPARE, TRAIN
from tests.unit.kinds.trainingrun.simulation import OBSERVATIONS, Cluster
from tests.unit.kinds.trainingrun.test_failures import end, running, turn

LIVE = [{**PREPARE, "progress": "Live"}, TRAIN]


def say(cluster: Cluster, step: str = "prepare", attempt: int = 1, percentage: int = 42) -> dict[str, Any]:
    """Let the agent see what a step says."""
    said = {
        "percentage": percentage,
        "estimatedRemainingSeconds": 60,
        "metrics": [{"name": "loss", "value": "0.5"}],
        "lastUpdateTime": "2026-01-01T00:00:00Z",
    }
    observation = copy.deepcopy(cluster.api.objects[OBSERVATIONS.kind, observation_name("TrainingRun", "one")])
    observation["spec"]["progress"] = {**said, "step": step, "attempt": attempt}
    cluster.api.put(observation)
    turn(cluster)
    return said


def shown(cluster: Cluster) -> object:
    return cluster.run("one")["status"].get("progress")


def test_progress_is_shown_and_written_once() -> None:
    cluster = running(steps=LIVE)
    assert shown(cluster) is None
    assert say(cluster) == shown(cluster)
    writes = cluster.api.writes
    turn(cluster, seconds=60)
    assert cluster.api.writes == writes
    assert say(cluster, percentage=43) == shown(cluster)


def test_progress_of_another_attempt_or_step_is_not_shown() -> None:
    cluster = running(steps=LIVE)
    for step, attempt in (("prepare", 2), ("train", 1), ("gone", 1)):
        say(cluster, step, attempt)
        assert shown(cluster) is None


def test_progress_ends_with_its_step() -> None:
    cluster = running(steps=LIVE)
    say(cluster)
    end(cluster, "succeed")
    assert shown(cluster) is None
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"


def test_progress_ends_with_a_failed_attempt() -> None:
    cluster = running(steps=LIVE)
    say(cluster)
    end(cluster, "exit")
    assert shown(cluster) is None
