from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from modelyard.api.v1alpha1 import TrainingRun
from modelyard.api.v1alpha1.trainingrun import RunProgress
from modelyard.cli.watch import changes

START = datetime(2026, 1, 1, tzinfo=UTC)


def run(
    reason: str, message: str = "", *, ready: str = "False", stalled: bool = False, observed: int = 1
) -> TrainingRun:
    def condition(kind: str, status: str) -> dict[str, Any]:
        return {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }

    return TrainingRun.model_validate(
        {
            "metadata": {"name": "r", "namespace": "air", "uid": "u", "generation": 1},
            "spec": {"model": "m", "steps": [{"name": "train", "image": "i"}]},
            "status": {
                "observedGeneration": observed,
                "conditions": [condition("Ready", ready)] + ([condition("Stalled", "True")] if stalled else []),
            },
        }
    )


def follow(*runs: TrainingRun) -> list[tuple[str, bool | None]]:
    return list(changes(runs, started=START, now=(START + timedelta(seconds=n) for n in count())))


def test_watch_prints_each_change_once_and_stops_at_the_end() -> None:
    lines = follow(
        run("Running", "train"), run("Running", "train"), run("Succeeded", ready="True"), run("Running", "again")
    )
    assert [outcome for _, outcome in lines] == [None, True]
    assert lines[0][0].endswith("[0/1] train")


def test_watch_ends_badly_when_the_run_is_stalled() -> None:
    assert follow(run("StepFailed", stalled=True))[-1][1] is False


def test_watch_waits_for_the_operator_to_see_the_newest_generation() -> None:
    assert follow(run("Succeeded", ready="True", observed=0))[-1][1] is None


def test_watch_shows_how_much_of_the_step_is_done() -> None:
    def at(percentage: int, **more: Any) -> TrainingRun:
        said = {"percentage": percentage, "lastUpdateTime": "2026-01-01T00:00:00Z", **more}
        running = run("Running", "train is running")
        status = running.status.model_copy(update={"progress": RunProgress.model_validate(said)})
        return running.model_copy(update={"status": status})

    lines = [line for line, _ in follow(at(1), at(42, estimatedRemainingSeconds=61))]
    assert lines[0].endswith("[0/1] train is running, 1 %")
    assert lines[1].endswith("[0/1] train is running, 42 %, about 2 min left")
