from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.api.v1alpha1.modelversion import Evaluation, Verdict
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec
from modelyard.conversion.runtime import OnnxModel
from modelyard.model import InvalidModel, load_model_directory
from modelyard.statistics.metrics import CLASSIFICATION
from modelyard.steps.evaluation.errors import ChampionUnusable, DatasetInvalid
from modelyard.steps.evaluation.judging import Champion, evaluate
from tests.support.models import write_linear_classifier

ROWS = 2000
DIGEST = "sha256:" + "1" * 64


def rows() -> pd.DataFrame:
    """`a` tells the truth, but not for carrier HA, where `b` does."""
    random = np.random.default_rng(0)
    carrier = random.choice(["AA", "HA"], ROWS, p=[0.8, 0.2])
    late = (random.random(ROWS) < 0.4).astype(int)
    signal = late - 0.4
    noise = random.normal(scale=0.5, size=(2, ROWS))
    a = np.where(carrier == "AA", signal, 0) + noise[0]
    b = np.where(carrier == "HA", signal, 0) + noise[1]
    return pd.DataFrame({"a": a, "b": b, "carrier": carrier, "late": late})


class Bench:
    """A place to judge models at."""

    def __init__(self, folder: Path, table: pd.DataFrame) -> None:
        self.folder = folder
        (folder / "dataset" / "test").mkdir(parents=True)
        table.to_parquet(folder / "dataset" / "test" / "rows.parquet")

    def judge(self, candidate: dict[str, float], champion: dict[str, float] | None = None, **spec: Any) -> Evaluation:
        directory = write_linear_classifier(self.folder / "model", candidate)
        rival = None
        if champion:
            rival = Champion(6, DIGEST, write_linear_classifier(self.folder / "champion", champion).path)
        return self.run(directory.path, rival, **spec)

    def run(self, folder: Path, champion: Champion | None, **spec: Any) -> Evaluation:
        directory = load_model_directory(folder)
        asked = {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize", "minimumRows": 1, **spec}
        model = OnnxModel(directory.model_file, directory.signature)
        judged = evaluate(directory, model, self.folder / "dataset", EvaluationSpec.model_validate(asked), champion)
        return judged.evaluation


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, rows())


def test_first_version_has_value_interval_and_further_metrics(bench: Bench) -> None:
    found = bench.judge({"a": 1.0, "b": 1.0})
    assert (found.verdict, found.rows, found.champion) == (Verdict.FIRST_VERSION, ROWS, None)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0.7 < float(found.low) < float(found.value) < float(found.high) < 1
    assert [metric.name for metric in found.metrics] == [m.value for m in CLASSIFICATION[1:]]


def test_both_models_are_judged_on_the_same_rows(bench: Bench) -> None:
    better = bench.judge({"a": 1.0, "b": 0.3}, {"a": 1.0})
    assert better.verdict is Verdict.BETTER_THAN_CHAMPION
    assert better.champion is not None
    assert (better.champion.version, better.champion.digest) == (6, DIGEST)
    worse = bench.judge({"a": 1.0}, {"a": 1.0, "b": 0.3})
    assert worse.verdict is Verdict.NOT_BETTER
    assert worse.champion is not None
    assert (worse.value, worse.champion.value) == (better.champion.value, better.value)


def test_group_that_became_worse_refuses_a_better_model(bench: Bench) -> None:
    slices = [{"column": "carrier", "maximumRegression": "0.02"}]
    found = bench.judge({"a": 1.0, "b": 0.05}, {"a": 0.3, "b": 1.0}, slices=slices)
    assert float(found.value or 0) > float(found.champion.value if found.champion else 1)
    assert found.verdict is Verdict.SLICE_REGRESSED
    assert found.message.startswith("carrier 'HA': rocAuc")


def test_same_rows_give_the_same_digest_and_evaluation(bench: Bench) -> None:
    assert bench.judge({"a": 1.0}) == bench.judge({"a": 1.0})
    before = bench.judge({"a": 1.0}).dataset_digest
    rows().iloc[:-1].to_parquet(bench.folder / "dataset" / "test" / "rows.parquet")
    assert bench.judge({"a": 1.0}).dataset_digest != before


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    table = rows()
    table["late"] = table["late"].astype("Int64")
    table.loc[:99, "late"] = pd.NA
    assert Bench(tmp_path, table).judge({"a": 1.0}).rows == ROWS - 100


def test_too_few_rows_and_one_class_are_verdicts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rows().query("late == 0"))
    assert bench.judge({"a": 1.0}, minimumRows=10_000).verdict is Verdict.TOO_FEW_ROWS
    found = bench.judge({"a": 1.0})
    assert (found.verdict, found.value, found.low) == (Verdict.TOO_FEW_ROWS, None, None)


@pytest.mark.parametrize(
    ("table", "spec", "message"),
    [
        (rows(), {"dataset": "features/gone"}, "evaluation.dataset: the output 'features' holds no 'gone'"),
        (rows().drop(columns="late"), {}, "the judged rows must have the column 'late', the label of the model's"),
        (rows().drop(columns="a"), {}, "the judged rows do not fit the model: column 'a' is missing"),
        (rows().assign(a="x"), {}, "column 'a' must hold values of datatype FP32"),
        (rows().assign(a=None), {}, f"column 'a' has {ROWS} missing values, must have none"),
        (rows().assign(late=2), {}, "label column 'late' holds '2', must be one of 0, 1"),
        (
            rows(),
            {"slices": [{"column": "gone", "maximumRegression": "0"}]},
            "the judged rows must have the column 'gone' of evaluation.slices",
        ),
        (
            rows().assign(id=range(ROWS)),
            {"slices": [{"column": "id", "maximumRegression": "0"}]},
            "evaluation.slices: column 'id' has 2000 values, must have at most 200",
        ),
    ],
)
def test_rows_that_cannot_be_judged_are_named(
    tmp_path: Path, table: pd.DataFrame, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        Bench(tmp_path, table).judge({"a": 1.0}, {"b": 1.0}, **spec)
    assert message in str(caught.value)


def test_metric_of_another_task_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidModel, match=r"evaluation\.metric: 'r2' is not defined .* must be one of rocAuc"):
        bench.judge({"a": 1.0}, metric="r2")
    with pytest.raises(InvalidModel, match=r"evaluation\.thresholds: 'r2' is not defined"):
        bench.judge({"a": 1.0}, thresholds=[{"metric": "r2", "minimum": "0"}])


def test_model_without_a_label_cannot_be_judged(bench: Bench) -> None:
    folder = write_linear_classifier(bench.folder / "model", {"a": 1.0}, label=None).path
    with pytest.raises(InvalidModel, match=r"modelyard\.json: label must name the column"):
        bench.run(folder, None)


def test_champion_that_lacks_its_columns_is_named(bench: Bench) -> None:
    with pytest.raises(ChampionUnusable, match=r"version 6, the champion, cannot score .* column 'gone' is missing"):
        bench.judge({"a": 1.0}, {"gone": 1.0})


def test_champion_of_other_classes_or_broken_bytes_is_named(bench: Bench) -> None:
    folder = write_linear_classifier(bench.folder / "champion", {"a": 1.0}, classes=("1", "2")).path
    candidate = write_linear_classifier(bench.folder / "model", {"a": 1.0}).path
    with pytest.raises(ChampionUnusable, match="has another task or other classes"):
        bench.run(candidate, Champion(6, DIGEST, folder))
    (folder / "model.onnx").write_bytes(b"\x08")
    with pytest.raises(ChampionUnusable, match="version 6, the champion, cannot be loaded"):
        bench.run(candidate, Champion(6, DIGEST, folder))


def test_difference_from_the_champion_is_recorded_with_its_interval(bench: Bench) -> None:
    found = bench.judge({"a": 1.0, "b": 0.3}, {"a": 1.0})
    assert found.champion is not None
    difference = found.champion.difference
    assert difference is not None
    assert found.value is not None
    assert float(difference.value) == pytest.approx(float(found.value) - float(found.champion.value), abs=1e-6)
    assert 0 < float(difference.low or 0) < float(difference.value) < float(difference.high or 0)
    assert found.goal == "Maximize"


def test_worst_group_of_a_slice_is_recorded(bench: Bench) -> None:
    slices = [{"column": "carrier", "maximumRegression": "0.02"}]
    (found,) = bench.judge({"a": 1.0, "b": 0.05}, {"a": 0.3, "b": 1.0}, slices=slices).slices
    assert (found.column, found.group, found.groups, found.skipped) == ("carrier", "HA", 2, 0)
    assert found.difference is not None
    assert float(found.difference.high or 0) < -0.02
    assert float(found.value) < float(found.champion or 0)


def test_first_version_records_its_weakest_group(bench: Bench) -> None:
    (found,) = bench.judge({"a": 1.0}, slices=[{"column": "carrier", "maximumRegression": "0"}]).slices
    assert (found.group, found.champion, found.difference) == ("HA", None, None)


def test_tiny_group_neither_passes_nor_fails(tmp_path: Path) -> None:
    """All rows of a tiny group may be wrong in every resample, so its interval alone would not protect it."""
    table = rows()
    table["gate"] = ["tiny"] * 5 + ["main"] * (ROWS - 5)
    table.loc[:4, ["a", "b", "late"]] = [-9.0, 9.0, 1]
    bench = Bench(tmp_path, table)
    slices = [{"column": "gate", "maximumRegression": "0"}]
    asked = {"metric": "accuracy", "minimumImprovement": "-1"}
    found = bench.judge({"a": 1.0}, {"b": 1.0}, slices=slices, **asked)
    assert found.verdict is Verdict.BETTER_THAN_CHAMPION
    assert [(part.group, part.groups, part.skipped) for part in found.slices] == [("main", 1, 1)]
    judged = bench.judge({"a": 1.0}, {"b": 1.0}, slices=[{**slices[0], "minimumRows": 5}], **asked)
    assert (judged.verdict, judged.slices[0].group) == (Verdict.SLICE_REGRESSED, "tiny")


def test_feature_that_the_model_uses_is_the_important_one(bench: Bench) -> None:
    found = bench.judge({"a": 1.0, "b": 0.0})
    assert [part.feature for part in found.importance] == ["a", "b"]
    assert float(found.importance[0].value) > 0.1
    assert float(found.importance[1].value) == 0


def test_many_classes_cost_no_intervals_but_the_deciding_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.steps.evaluation.judging.MAX_CLASSES_WITH_INTERVALS", 1)
    directory = write_linear_classifier(bench.folder / "model", {"a": 1.0})
    model = OnnxModel(directory.model_file, directory.signature)
    spec = EvaluationSpec.model_validate({"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize"})
    scores = evaluate(directory, model, bench.folder / "dataset", spec, None).evidence.scores
    assert [scored.metric for scored in scores if scored.interval] == ["rocAuc"]
