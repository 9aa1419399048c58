"""The examples hold what they say, without a cluster."""

import json
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from modelyard.api.v1alpha1.deployment import DeploymentSpec
from modelyard.api.v1alpha1.trainingrun import TrainingRunSpec
from modelyard.model import load_model_directory
from modelyard.steps.tabular.parameters import parse_preparation, parse_training, unused
from tests.support.flights import write_flights

EXAMPLES = Path(__file__).parents[3] / "examples"
RUNS = sorted(EXAMPLES.glob("*/trainingrun*.yaml"))


def spec(file: Path) -> TrainingRunSpec:
    return TrainingRunSpec.model_validate(yaml.safe_load(file.read_text())["spec"])


def parameters(file: Path) -> dict[str, str]:
    return {parameter.name: parameter.value for parameter in spec(file).parameters}


@pytest.mark.parametrize("file", RUNS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_field_of_a_run_is_known(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    assert spec(file).model_dump(mode="json", by_alias=True, exclude_unset=True) == content["spec"]


def test_parameters_of_the_flight_delay_run_are_all_read() -> None:
    texts = parameters(EXAMPLES / "flight-delay" / "trainingrun.yaml")
    assert unused(texts) == ()
    parse_preparation(texts)
    parse_training(texts)


def test_deployment_follows_the_model_of_the_run() -> None:
    content = yaml.safe_load((EXAMPLES / "flight-delay" / "deployment.yaml").read_text())
    deployment = DeploymentSpec.model_validate(content["spec"])
    assert deployment.model.name == spec(EXAMPLES / "flight-delay" / "trainingrun.yaml").model


@pytest.mark.parametrize("file", sorted((EXAMPLES / "flight-delay" / "requests").glob("*.json")), ids=lambda f: f.stem)
def test_requests_have_the_features_of_the_model(file: Path) -> None:
    features = parse_preparation(parameters(EXAMPLES / "flight-delay" / "trainingrun.yaml")).features
    tensors: list[dict[str, Any]] = json.loads(file.read_text())["inputs"]
    assert tuple(tensor["name"] for tensor in tensors) == features


def test_own_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flights(tmp_path / "in")
    flights = pd.read_csv(tmp_path / "in" / "flights" / "flights.csv").assign(sched_dep_time=900)
    (tmp_path / "in" / "flights" / "flights.csv").unlink()
    flights.iloc[:300].to_parquet(tmp_path / "in" / "flights" / "2013-01.parquet")
    flights.iloc[300:].to_parquet(tmp_path / "in" / "flights" / "2013-02.parquet")
    run = spec(EXAMPLES / "own-code" / "trainingrun.yaml")
    given = {"parameters": {parameter.name: parameter.value for parameter in run.parameters}, "seed": run.seed}
    (tmp_path / "parameters.json").write_text(json.dumps(given))
    monkeypatch.setenv("MODELYARD_INPUTS_DIR", str(tmp_path / "in"))
    monkeypatch.setenv("MODELYARD_OUTPUTS_DIR", str(tmp_path / "out"))
    monkeypatch.setenv("MODELYARD_PARAMETERS_FILE", str(tmp_path / "parameters.json"))
    monkeypatch.setenv("MODELYARD_METRICS_FILE", str(tmp_path / "metrics.jsonl"))
    (step,) = run.steps
    assert step.command == ("python", "-c")
    (tmp_path / "code.py").write_text(step.args[0])
    runpy.run_path(str(tmp_path / "code.py"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(step.outputs)
    signature = load_model_directory(tmp_path / "out" / "model").signature
    assert [tensor.name for tensor in signature.inputs] == ["distance", "sched_dep_time"]
    assert "trainAccuracy" in (tmp_path / "metrics.jsonl").read_text()
