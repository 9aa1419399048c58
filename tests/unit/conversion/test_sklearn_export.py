from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import LinearSVC

from modelyard.conversion.errors import ConversionError
from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.sklearn_export import export_estimator
from modelyard.model import Datatype, Kind, Task

ROWS = 400


def frame(*, missing: bool = False) -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "a number": random.normal(size=ROWS),
            "count": random.integers(0, 9, ROWS),
            "carrier": random.choice(["AA", "B6", "ü"], ROWS),
            "flag": random.random(ROWS) < 0.5,
        }
    )
    if missing:
        table.loc[::7, "a number"] = np.nan
    return table


def label(table: pd.DataFrame) -> "pd.Series[Any]":
    noise = np.random.default_rng(1).normal(size=ROWS)
    return ((table["a number"].fillna(0) + (table["carrier"] == "AA") + noise) > 0).astype(int)


def encoded(model: Any, **encoder: Any) -> Pipeline:
    options = {"handle_unknown": "ignore", "sparse_output": False, **encoder}
    columns = ColumnTransformer([("texts", OneHotEncoder(**options), ["carrier"])], remainder="passthrough")
    return Pipeline([("columns", columns), ("model", model)])


def test_classifier_takes_each_column_under_its_name() -> None:
    table = frame(missing=True)
    fitted = encoded(HistGradientBoostingClassifier(max_iter=5)).fit(table, label(table))
    exported = export_estimator(fitted, table, label="late")
    signature = exported.signature
    assert (signature.task, signature.label) == (Task.BINARY_CLASSIFICATION, "late")
    assert [(tensor.name, tensor.datatype, tensor.kind, tensor.nullable) for tensor in signature.inputs] == [
        ("a number", Datatype.FP32, Kind.NUMERIC, True),
        ("count", Datatype.FP32, Kind.NUMERIC, True),
        ("carrier", Datatype.BYTES, Kind.CATEGORICAL, False),
        ("flag", Datatype.FP32, Kind.NUMERIC, True),
    ]
    assert signature.inputs[2].categories == ("AA", "B6", "ü")
    assert (signature.inputs[1].minimum, signature.inputs[1].maximum) == (0.0, 8.0)
    assert [value.name for value in onnx.load_from_string(exported.onnx).graph.input] == list(table.columns)
    answers = OnnxModel(exported.onnx, signature).predict(table)
    assert np.abs(answers["probabilities"] - fitted.predict_proba(table)).max() < 1e-5
    assert (answers["label"] == fitted.predict(table)).all()


def test_same_model_gives_the_same_bytes() -> None:
    table = frame()
    fitted = encoded(LogisticRegression()).fit(table, label(table))
    exported = export_estimator(fitted, table)
    assert exported.onnx == export_estimator(fitted, table).onnx
    domains = [imported.domain for imported in onnx.load_from_string(exported.onnx).opset_import]
    assert domains == sorted(domains)


def test_regressor_answers_a_value() -> None:
    table = frame()[["a number", "count"]].astype(np.float32)
    fitted = HistGradientBoostingRegressor(max_iter=5).fit(table, 100 * table["count"] + table["a number"])
    exported = export_estimator(fitted, table)
    assert exported.signature.task is Task.REGRESSION
    assert OnnxModel(exported.onnx, exported.signature).predict(table)["value"].shape == (ROWS, 1)


def test_classes_may_be_texts() -> None:
    table = frame()
    fitted = encoded(LogisticRegression()).fit(table, table["carrier"].replace({"ü": "unknown"}))
    exported = export_estimator(fitted, table)
    outputs = exported.signature.outputs
    assert exported.signature.task is Task.MULTICLASS_CLASSIFICATION
    assert (outputs[0].datatype, outputs[1].classes) == (Datatype.BYTES, ("AA", "B6", "unknown"))


def test_boosting_splits_neighbouring_float32_values_as_scikit_learn_does() -> None:
    """A threshold between two neighbours rounds to the upper one, which would then go the wrong way."""
    low = np.float32(1.0000001)
    high = np.nextafter(low, np.float32(2))
    assert np.float32((np.float64(low) + np.float64(high)) / 2) == high
    table = pd.DataFrame({"x": np.array([low, high] * 50, dtype=np.float32)})
    fitted = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=1).fit(table, [0, 1] * 50)
    exported = export_estimator(fitted, table)
    assert OnnxModel(exported.onnx, exported.signature).predict(table)["label"].tolist() == [0, 1] * 50


def test_model_trained_on_float64_splits_at_seen_values_as_scikit_learn_does() -> None:
    """With many distinct values the thresholds are seen ones, which float32 rounds up or down."""
    table = pd.DataFrame({"x": np.random.default_rng(0).normal(size=2001)})
    fitted = HistGradientBoostingClassifier(max_iter=20).fit(table, table["x"] > 0.1)
    assert export_estimator(fitted, table).greatest_difference < 1e-6


def test_wrong_conversion_is_an_error() -> None:
    """skl2onnx 1.20 forgets where a forest sends missing values."""
    whole = frame(missing=True)
    table = whole[["a number", "count"]].astype(np.float32)
    forest = RandomForestClassifier(n_estimators=20, random_state=0).fit(table, label(whole))
    with pytest.raises(ConversionError, match="the ONNX form of RandomForestClassifier differs by"):
        export_estimator(forest, table)


def test_numbers_are_not_nullable_when_the_model_cannot_miss_them() -> None:
    table = frame()
    exported = export_estimator(encoded(LogisticRegression()).fit(table, label(table)), table)
    assert not any(tensor.nullable for tensor in exported.signature.inputs)


TABLE = frame()
COUNT = TABLE[["count"]]
LATE = label(TABLE)
LARGE = pd.DataFrame({"count": [2**24 + 1] * 4})
TANH = Pipeline([("function", FunctionTransformer(np.tanh)), ("model", LogisticRegression())])
REFUSED: dict[str, Callable[[], tuple[Any, pd.DataFrame]]] = {
    "unknown texts": lambda: (encoded(LogisticRegression(), handle_unknown="error").fit(TABLE, LATE), TABLE),
    "no probabilities": lambda: (LinearSVC().fit(COUNT, LATE), COUNT),
    "custom function": lambda: (TANH.fit(COUNT, LATE), COUNT),
    "time": lambda: (LogisticRegression().fit(COUNT, LATE), COUNT.assign(when=pd.Timestamp("2013-01-01"))),
    "large": lambda: (LogisticRegression().fit(LARGE, [0, 1, 0, 1]), LARGE),
    "fractions as classes": lambda: (HistGradientBoostingClassifier(max_iter=1).fit(COUNT, LATE * 1.0), COUNT),
    "empty": lambda: (LogisticRegression().fit(COUNT, LATE), COUNT.iloc[:0]),
    "nothing": lambda: (object(), COUNT),
}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown texts", "LogisticRegression fails on texts that it was not trained on: set handle_unknown"),
        ("no probabilities", "LinearSVC gives no probabilities"),
        ("custom function", "LogisticRegression cannot be converted to ONNX"),
        ("time", "column 'when' has the type datetime64"),
        ("large", "column 'count' has whole numbers beyond 16,777,216"),
        (
            "fractions as classes",
            "classes of HistGradientBoostingClassifier must be whole numbers or texts, not float64",
        ),
        ("empty", "sample must have at least one row"),
        ("nothing", "object must be a fitted classifier or regressor"),
    ],
)
def test_what_cannot_be_converted_is_named(case: str, message: str) -> None:
    estimator, table = REFUSED[case]()
    with pytest.raises(ConversionError) as caught:
        export_estimator(estimator, table)
    assert message in str(caught.value)
