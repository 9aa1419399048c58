"""`lineage`, `diff`, `reproduce` and `restore` as people type them, against a real API server and operator."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from tests.cluster.operator.conftest import Stage
from tests.cluster.operator.test_training import RUN, succeed

pytestmark = pytest.mark.cluster
REPRODUCED = "delay-reproduced-v1"


def start(stage: Stage, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "modelyard.cli.main", *arguments, "-n", stage.api.namespace],
        env={**os.environ, "KUBECONFIG": str(stage.plane.kubeconfig), "AWS_EC2_METADATA_DISABLED": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(stage: Stage, *arguments: str) -> tuple[int, str, str]:
    """Run a command to its end while everything else acts."""
    process = start(stage, *arguments)
    stage.until(lambda: process.poll() is not None, f"modelyard {' '.join(arguments)}")
    output, errors = process.communicate(timeout=10)
    return process.returncode, output, errors


@pytest.fixture
def line(stage: Stage) -> Stage:
    """Two versions of a model, the second one made with another parameter."""
    stage.apply("TrainingRun", "one", **RUN)
    stage.start()
    succeed(stage, "one")
    stage.apply("TrainingRun", "two", **RUN, parameters=[{"name": "maxDepth", "value": "6"}])
    succeed(stage, "two")
    return stage


def test_lineage_names_what_a_version_was_made_from(line: Stage) -> None:
    code, text, _ = ask(line, "lineage", "mv/delay-v2")
    assert code == 0
    for part in ("made by TrainingRun two", "reads Data flights", "maxDepth  6", "follows ModelVersion delay-v1"):
        assert part in text


def test_diff_shows_the_parameter_that_changed(line: Stage) -> None:
    code, text, _ = ask(line, "diff", "mv/delay-v1", "mv/delay-v2", "-o", "json")
    assert code == 1
    found = json.loads(text)
    rows = {(row["section"], row["name"]): (row["left"], row["right"]) for row in found["differing"]}
    assert rows["parameters", "maxDepth"] == ("—", "6")
    assert found["equal"] > 0
    assert ask(line, "diff", "mv/delay-v1", "mv/delay-v1")[0] == 0


def test_reproduce_runs_again_in_a_line_of_its_own_and_compares(line: Stage) -> None:
    code, text, errors = ask(line, "reproduce", "mv/delay-v2", "--apply", "--timeout", "60")
    assert (code, text.splitlines()[0]) == (0, "the model is the same, bit for bit"), errors
    made = line.api.get("ModelVersion", REPRODUCED)
    run = line.api.get("TrainingRun", made["spec"]["lineage"]["trainingRun"]["name"])
    assert run["spec"]["parameters"] == [{"name": "maxDepth", "value": "6"}]
    assert all("digest" in item for item in run["spec"]["inputs"])
    assert line.api.get("ModelVersion", "delay-v2")["status"]["champion"] == "Yes"
    code, _, errors = ask(line, "reproduce", "mv/delay-v2", "--apply", "--timeout", "60")
    assert code == 0
    assert "is there from before" in errors


def test_reproduce_says_when_the_run_does_not_end_in_time(line: Stage) -> None:
    name = yaml.safe_load(ask(line, "reproduce", "mv/delay-v2")[1])["metadata"]["name"]
    line.nodes.held = f"{name}-prepare-1"
    code, _, errors = ask(line, "reproduce", "mv/delay-v2", "--apply", "--timeout", "2")
    assert code == 3
    assert "still not finished after 2 s" in errors


def test_reproduce_of_a_run_that_is_gone_needs_the_store(line: Stage) -> None:
    line.api.delete("TrainingRun", "two")
    line.until(lambda: line.nodes.collect_garbage() == 0, "nothing to be left to collect")
    code, _, errors = ask(line, "reproduce", "mv/delay-v2")
    assert code == 2
    assert "models/delay/v2/run.json" in errors


def test_restore_creates_what_the_namespace_lacks(line: Stage, tmp_path: Path) -> None:
    stored: dict[str, Any] = {item["metadata"]["name"]: item["spec"] for item in line.api.all("ModelVersion")}
    for spec in stored.values():
        record = ModelVersionSpec.model_validate(spec)
        folder = tmp_path / "models" / record.model / f"v{record.version}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(spec))
    line.api.delete("ModelVersion", "delay-v2")
    line.until(lambda: line.nodes.collect_garbage() == 0, "what was seen of the old version to go with it")
    code, text, _ = ask(line, "restore", tmp_path.as_uri(), "--apply")
    assert (code, text.strip()) == (0, "1 created, 1 there from before")
    assert line.api.get("ModelVersion", "delay-v2")["spec"] == stored["delay-v2"]
    line.until(lambda: line.ready("ModelVersion", "delay-v2") == "Available", "the version to be verified again")


def test_restore_leaves_other_bytes_of_the_same_name_alone(line: Stage, tmp_path: Path) -> None:
    spec = line.api.get("ModelVersion", "delay-v2")["spec"]
    other = {**spec["artifact"], "uri": "s3://yard/other/", "digest": "sha256:" + "7" * 64}
    folder = tmp_path / "models" / "delay" / "v2"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({**spec, "artifact": other}))
    code, _, errors = ask(line, "restore", tmp_path.as_uri(), "--apply")
    assert code == 1
    assert "delay-v2: the namespace has other bytes under this name" in errors
    assert line.api.get("ModelVersion", "delay-v2")["spec"] == spec
