import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from modelyard.conversion.errors import ConversionError, ParityFailed, SamplesInvalid
from modelyard.conversion.pickles import convert_pickle
from modelyard.conversion.samples import find_samples
from modelyard.model import load_model_directory

ROWS = 300
NUMBERS = ("size", "weight", "count")


def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": random.normal(size=ROWS),
            "weight": random.uniform(1, 2, ROWS),
            "count": random.integers(0, 9, ROWS),
            "colour": random.choice(["red", "green", "ü"], ROWS),
        }
    )


def target(rows: pd.DataFrame) -> "pd.Series[Any]":
    return ((rows["size"] + (rows["colour"] == "red")) > 0.4).astype(int)


def encoded(model: Any) -> Any:
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    texts, numbers = make_column_selector(dtype_exclude=np.number), make_column_selector(dtype_include=np.number)
    return make_pipeline(make_column_transformer((encoder, texts), (StandardScaler(), numbers)), model)


def numbered(model: Any) -> Any:
    """Without a scaler: a tree may decide otherwise on a number that was scaled as float32."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    texts = make_column_selector(dtype_exclude=np.number)
    return make_pipeline(make_column_transformer((encoder, texts), remainder="passthrough"), model)


def write(folder: Path, model: Any, rows: pd.DataFrame, suffix: str = ".csv") -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    samples = folder / f"samples{suffix}"
    if suffix == ".csv":
        rows.to_csv(samples, index=False)
    elif suffix == ".parquet":
        rows.to_parquet(samples)
    else:
        rows.to_json(samples, orient="records", lines=True)
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    return folder / "model.pkl", samples


@pytest.mark.parametrize(
    "model",
    [
        encoded(LogisticRegression()),
        encoded(HistGradientBoostingClassifier(max_iter=5)),
        numbered(RandomForestClassifier(5, random_state=0)),
        make_pipeline(SimpleImputer(), PCA(2), MLPClassifier(max_iter=5, early_stopping=True)),
        make_pipeline(StandardScaler(), CalibratedClassifierCV(LinearSVC())),
        ExtraTreesClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=5, random_state=0),
        GaussianNB(),
        KNeighborsClassifier(),
        SGDClassifier(loss="log_loss"),
        StackingRegressor([("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2))]),
        AdaBoostRegressor(n_estimators=3, random_state=0),
        HistGradientBoostingRegressor(loss="absolute_error", max_iter=5),
        PoissonRegressor(),
    ],
    ids=lambda model: type(getattr(model, "steps", [("", model)])[-1][1]).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pickled_model_answers_alike_as_onnx(tmp_path: Path, model: Any) -> None:
    rows = table()
    columns = list(rows) if "columntransformer" in getattr(model, "named_steps", {}) else list(NUMBERS)
    model.fit(rows[columns], target(rows))
    done = convert_pickle(*write(tmp_path / "in", model, rows), tmp_path / "out")
    assert done.maximum_difference <= 1e-4
    assert done.rows == ROWS
    written = load_model_directory(tmp_path / "out")
    assert [tensor.name for tensor in written.signature.inputs] == columns
    assert written.baseline.rows == ROWS


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_samples_may_have_more_columns_in_any_order(tmp_path: Path, suffix: str) -> None:
    rows = table()
    model = encoded(LogisticRegression()).fit(rows, target(rows))
    shuffled = rows.assign(label=target(rows))[["label", "colour", "count", "size", "weight"]]
    pickled, samples = write(tmp_path, model, shuffled, suffix)
    done = convert_pickle(pickled, find_samples(tmp_path), tmp_path / "out")
    assert (done.estimator, samples.name) == ("sklearn.linear_model._logistic.LogisticRegression", f"samples{suffix}")
    signature = json.loads((tmp_path / "out" / "modelyard.json").read_text())
    assert [tensor["name"] for tensor in signature["inputs"]] == ["size", "weight", "count", "colour"]


def test_model_that_was_fitted_without_names_takes_the_columns_as_they_are(tmp_path: Path) -> None:
    rows = table()[list(NUMBERS)]
    model = LinearRegression().fit(rows.to_numpy(), rows["size"] * 2)
    assert convert_pickle(*write(tmp_path, model, rows), tmp_path / "out").maximum_difference < 1e-4
    with pytest.raises(SamplesInvalid, match=r"4 columns, must have exactly the 3 .* without column names"):
        convert_pickle(*write(tmp_path, model, table()), tmp_path / "other")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "samples.csv cannot be read"),
        (b"size,weight,count\n", "at least one row"),
        (b"size,count\n1,2\n", "missing: weight"),
        (b"size,weight,count\na,2,3\n", "LinearRegression cannot be converted to ONNX"),
        (b"size,weight,count\n1,,3\n", "cannot answer the samples: ValueError: Input X contains NaN"),
        (b"size,weight,count\n1,2,123456789\n", "beyond 16,777,216"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    rows = table()[list(NUMBERS)]
    pickled, samples = write(tmp_path, LinearRegression().fit(rows, rows["size"]), rows)
    samples.write_bytes(content)
    with pytest.raises(ConversionError, match=said):
        convert_pickle(pickled, samples, tmp_path / "out")


def test_estimator_without_probabilities_is_named_with_its_module(tmp_path: Path) -> None:
    rows = table()[list(NUMBERS)]
    model = LinearSVC().fit(rows, rows["size"] > 0)
    with pytest.raises(
        ConversionError, match=r"sklearn\.svm\._classes\.LinearSVC: .*CalibratedClassifierCV"
    ) as refused:
        convert_pickle(*write(tmp_path, model, rows), tmp_path / "out")
    assert refused.value.reason == "NotConvertible"


def test_estimator_that_is_not_on_the_list_is_named_with_its_module(tmp_path: Path) -> None:
    rows = table()[list(NUMBERS)]
    model = GaussianProcessClassifier().fit(rows[:20], rows["size"][:20] > 0)
    with pytest.raises(ConversionError, match=r"sklearn\.gaussian_process\._gpc\.GaussianProcessClassifier cannot be"):
        convert_pickle(*write(tmp_path, model, rows), tmp_path / "out")


def test_model_that_answers_differently_is_refused(tmp_path: Path) -> None:
    """The converter leaves out the inverse link of this loss."""
    rows = table()[list(NUMBERS)]
    model = HistGradientBoostingRegressor(loss="poisson", max_iter=5).fit(rows, rows["size"].abs() + 0.1)
    with pytest.raises(ParityFailed, match="HistGradientBoostingRegressor differs by"):
        convert_pickle(*write(tmp_path, model, rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [(), ("samples.txt",), ("samples.csv", "samples.parquet")])
def test_samples_must_lie_beside_the_pickle(tmp_path: Path, names: tuple[str, ...]) -> None:
    for file in names:
        (tmp_path / file).touch()
    with pytest.raises(SamplesInvalid, match=r"exactly one of samples\.parquet, samples\.csv, samples\.jsonl"):
        find_samples(tmp_path)
