"""Runs with little or nothing changed, on a real API server: what is still there is taken over."""

import hashlib
import json
import time
from functools import partial
from typing import Any

import pytest

from tests.cluster.operator.conftest import Stage
from tests.cluster.operator.nodes import Manifest, published
from tests.cluster.operator.test_training import RUN, succeed

pytestmark = pytest.mark.cluster

PINNED = f"example.com/train@sha256:{'b' * 64}"
STEPS: list[dict[str, Any]] = [
    RUN["steps"][0],
    {"name": "train", "image": PINNED, "inputs": ["features"], "outputs": ["model"]},
]
AT_ONCE = 5.0
"""Seconds that a run may take in which nothing runs."""


def distinct(job: Manifest) -> Manifest:
    """An answer whose outputs are other ones for each Job."""
    answer = published(job)
    for output in answer.get("outputs", ()):
        digits = hashlib.sha256(f"{job['metadata']['uid']} {output['name']}".encode()).hexdigest()
        output |= {"uri": f"s3://yard/air/blobs/sha256/{digits}", "digest": f"sha256:{digits}"}
    return answer


@pytest.fixture
def made(stage: Stage) -> Stage:
    """A namespace in which the run "one" has made the first version."""
    stage.nodes.answer = distinct
    stage.apply("TrainingRun", "one", **{**RUN, "steps": STEPS})
    stage.start()
    succeed(stage, "one")
    return stage


def has_written(stage: Stage, before: int) -> bool:
    return len(stage.writes()) > before


def states(stage: Stage, run: str) -> list[str]:
    return [step["state"] for step in stage.api.get("TrainingRun", run)["status"]["steps"]]


def jobs(stage: Stage, run: str) -> list[str]:
    return [name for name in stage.api.names("Job") if name.startswith(run)]


def test_run_with_nothing_changed_ends_at_once_without_a_job_or_a_version(made: Stage) -> None:
    start = time.monotonic()
    made.apply("TrainingRun", "two", **{**RUN, "steps": STEPS})
    succeed(made, "two")
    took = time.monotonic() - start
    assert states(made, "two") == ["Cached"] * 3
    assert jobs(made, "two") == []
    assert made.api.names("ModelVersion") == ["delay-v1"]
    two = made.api.get("TrainingRun", "two")
    assert two["status"]["modelVersionName"] == "delay-v1"
    ready = next(c for c in two["status"]["conditions"] if c["type"] == "Ready")
    assert ready["message"] == "nothing changed: same as delay-v1, which run 'one' made"
    assert took <= AT_ONCE
    assert len(json.dumps(two["status"])) <= 16 * 1024
    made.assert_converged(made.operators[-1])


def test_only_steps_after_a_change_run(made: Stage) -> None:
    changed = [STEPS[0], {**STEPS[1], "args": ["--deep"]}]
    made.apply("TrainingRun", "two", **{**RUN, "steps": changed})
    succeed(made, "two")
    assert states(made, "two") == ["Cached", "Succeeded", "Succeeded"]
    assert jobs(made, "two") == ["two-register-1", "two-train-1"]
    assert made.api.names("ModelVersion") == ["delay-v1", "delay-v2"]


def test_changed_parameter_runs_every_step(made: Stage) -> None:
    made.apply("TrainingRun", "two", **{**RUN, "steps": STEPS, "parameters": [{"name": "depth", "value": "7"}]})
    succeed(made, "two")
    assert states(made, "two") == ["Succeeded"] * 3


def test_step_whose_output_is_gone_runs_again(made: Stage) -> None:
    one = made.api.get("TrainingRun", "one")
    made.nodes.lost = {one["status"]["steps"][0]["outputs"][0]["uri"]}
    made.apply("TrainingRun", "two", **{**RUN, "steps": STEPS})
    succeed(made, "two")
    assert states(made, "two") == ["Succeeded"] * 3
    assert "has lost an output" in made.api.get("TrainingRun", "two")["status"]["steps"][0]["message"]


def test_killed_operators_take_everything_over_once(made: Stage) -> None:
    """Each process dies about when it has made a write."""
    made.apply("TrainingRun", "two", **{**RUN, "steps": STEPS})
    deadline = time.monotonic() + 90
    while made.ready("TrainingRun", "two") != "Succeeded":
        assert time.monotonic() < deadline, made.describe()
        made.operators[-1].kill()
        made.start()
        made.until(partial(has_written, made, len(made.writes())), "a write")
    assert states(made, "two") == ["Cached"] * 3
    assert jobs(made, "two") == []
    assert made.api.names("ModelVersion") == ["delay-v1"]


def test_deleted_run_takes_its_record_along(made: Stage) -> None:
    made.api.delete("TrainingRun", "one")
    made.until(lambda: made.nodes.collect_garbage() == 0, "nothing to be left to collect")
    made.apply("TrainingRun", "two", **{**RUN, "steps": STEPS})
    succeed(made, "two")
    assert states(made, "two") == ["Succeeded"] * 3
