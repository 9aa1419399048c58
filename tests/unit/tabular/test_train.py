import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from modelyard.model import Task, load_model_directory
from modelyard.steps.tables import TableError
from modelyard.steps.tabular.__main__ import main
from modelyard.steps.tabular.parameters import ParameterError, parse_training
from modelyard.steps.tabular.train import features_folder, train
from tests.support.flights import FEATURES, PARAMETERS, write_flights


class Step:
    """The environment of a step's container."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self._monkeypatch = root, monkeypatch

    def run(self, step: str, inputs: Path, parameters: dict[str, str]) -> int:
        file = self.root / "parameters.json"
        file.write_text(json.dumps({"parameters": parameters, "seed": 7, "model": "flight-delay", "step": step}))
        variables = {
            "INPUTS_DIR": inputs,
            "OUTPUTS_DIR": self.root / step,
            "PARAMETERS_FILE": file,
            "METRICS_FILE": self.root / "metrics.jsonl",
        }
        for name, value in variables.items():
            self._monkeypatch.setenv(f"MODELYARD_{name}", str(value))
        self._monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        return main([step])


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    return Step(tmp_path, monkeypatch)


def test_steps_lead_from_raw_tables_to_a_model_directory(
    step: Step, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_flights(tmp_path / "in")
    parameters = {**PARAMETERS, "iterations": "20", "epochs": "3"}
    assert step.run("prepare", tmp_path / "in", parameters) == 0
    assert step.run("train", tmp_path / "prepare", parameters) == 0
    directory = load_model_directory(tmp_path / "train" / "model")
    signature = directory.signature
    assert (signature.task, signature.label) == (Task.BINARY_CLASSIFICATION, "late")
    assert tuple(tensor.name for tensor in signature.inputs) == FEATURES
    assert [tensor.nullable for tensor in signature.inputs] == [False, False, True, True, True]
    metrics = {
        line["name"]: line["value"] for line in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    }
    assert metrics["rocAuc"] > 0.8
    said = capsys.readouterr().out
    assert "weather: found for" in said
    assert "parameter 'epochs' is not used by this step" in said
    assert "rocAuc on the test rows: 0." in said


@pytest.mark.parametrize(
    ("argument", "parameters", "code", "message"),
    [
        ("serve", {}, 2, "error: exactly one argument must be given: prepare or train\n"),
        ("prepare", {"label": "y"}, 2, "error: parameter 'timeColumn' must name the column"),
        ("prepare", {"label": "y", "split": "random"}, 2, "error: parameter 'join' must name all inputs"),
        ("train", {"label": "y"}, 1, "error: exactly one input must have a folder 'train', among: no inputs\n"),
    ],
)
def test_failure_is_one_line_and_an_exit_code(
    step: Step, capfd: pytest.CaptureFixture[str], *, argument: str, parameters: dict[str, str], code: int, message: str
) -> None:
    assert step.run(argument, step.root / "none", parameters) == code
    error = capfd.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def features(folder: Path, **columns: Any) -> Path:
    count = len(next(iter(columns.values())))
    table = pd.DataFrame({"x": [float(i % 10) for i in range(count)], "c": ["a", "b"] * (count // 2), **columns})
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        table.to_parquet(folder / part / "rows.parquet")
    return folder


@pytest.mark.parametrize(
    ("label", "parameters", "task", "metric"),
    [
        ([0, 1], {}, Task.BINARY_CLASSIFICATION, "rocAuc"),
        (["no", "yes"], {"estimator": "logisticRegression"}, Task.BINARY_CLASSIFICATION, "rocAuc"),
        ([True, False], {"estimator": "randomForest", "iterations": "5"}, Task.BINARY_CLASSIFICATION, "f1"),
        (["a", "b", "c", "d"], {"iterations": "3"}, Task.MULTICLASS_CLASSIFICATION, "accuracy"),
        ([3, 4, 5, 6], {"task": "MulticlassClassification", "iterations": "3"}, Task.MULTICLASS_CLASSIFICATION, "f1"),
        ([3, 4, 5, 6], {"iterations": "3"}, Task.REGRESSION, "r2"),
        ([0.5, 1.5], {"estimator": "linearRegression"}, Task.REGRESSION, "rootMeanSquaredError"),
        ([0.5, 1.5], {"estimator": "randomForest", "iterations": "3"}, Task.REGRESSION, "meanAbsoluteError"),
    ],
)
def test_every_estimator_and_task_converts_exactly(
    tmp_path: Path, label: list[Any], parameters: dict[str, str], task: Task, metric: str
) -> None:
    folder = features(tmp_path / "features", y=label * (120 // len(label)))
    training = parse_training({"label": "y", **parameters})
    metrics = train(folder, tmp_path / "model", training, 0, lambda _: None)
    assert load_model_directory(tmp_path / "model").signature.task is task
    assert metric in metrics


@pytest.mark.parametrize(
    ("label", "parameters", "message"),
    [
        ([0, 0], {}, "parameter 'label' must have from 2 to 1000 classes among the rows to train on, got '1'"),
        ([0, 1], {"label": "z"}, "parameter 'label' must be a column of the prepared table (x, c, y), got 'z'"),
        (["a", "b"], {"task": "Regression"}, "parameter 'task' must fit the label 'y'"),
        ([0, 1], {"estimator": "linearRegression"}, "parameter 'estimator' must suit the task BinaryClassification"),
        ([0.5, 1.5], {"estimator": "logisticRegression"}, "parameter 'estimator' must suit the task Regression"),
        ([1, 2, 3, 4], {"task": "BinaryClassification"}, "must be MulticlassClassification for 4 classes"),
    ],
)
def test_label_that_does_not_fit_is_refused(
    tmp_path: Path, label: list[Any], parameters: dict[str, str], message: str
) -> None:
    folder = features(tmp_path / "features", y=label * (20 // len(label)))
    with pytest.raises(ParameterError) as caught:
        train(folder, tmp_path / "model", parse_training({"label": "y", **parameters}), 0, lambda _: None)
    assert message in str(caught.value)


def test_missing_labels_and_times_as_features_are_refused(tmp_path: Path) -> None:
    folder = features(tmp_path / "a", y=[0.0, None] * 10)
    with pytest.raises(TableError, match="label column 'y' must have no missing values"):
        train(folder, tmp_path / "model", parse_training({"label": "y"}), 0, lambda _: None)
    folder = features(tmp_path / "b", y=[0, 1] * 10, when=[pd.Timestamp("2013-01-01")] * 20)
    with pytest.raises(TableError, match="feature column 'when' has the type datetime64"):
        train(folder, tmp_path / "model", parse_training({"label": "y"}), 0, lambda _: None)


def test_rare_texts_share_a_code_with_unknown_ones(tmp_path: Path) -> None:
    carriers = ["common", "other"] * 50 + ["rare"] * 3 + ["rarer"]
    table = pd.DataFrame({"x": range(104), "c": carriers, "y": [0, 1] * 52})
    (tmp_path / "features" / "train").mkdir(parents=True)
    table.to_parquet(tmp_path / "features" / "train" / "rows.parquet")
    train(
        tmp_path / "features", tmp_path / "model", parse_training({"label": "y", "iterations": "2"}), 0, lambda _: None
    )
    carrier = load_model_directory(tmp_path / "model").signature.input("c")
    assert carrier is not None
    assert carrier.categories == ("common", "other", "rare", "rarer")


def test_features_come_from_the_input_with_a_training_set(tmp_path: Path) -> None:
    (tmp_path / "a" / "train").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    inputs = {name: tmp_path / name for name in ("a", "b")}
    assert features_folder(inputs) == tmp_path / "a"
