"""scikit-learn pipelines that convert to ONNX exactly."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from modelyard.model import Task
from modelyard.steps.tables import TableError
from modelyard.steps.tabular.parameters import Estimator, ParameterError, Training

MIN_CATEGORY_ROWS: Final = 20
"""Rarer texts share one code with those that come later and are unknown."""
MAX_CLASSES: Final = 1000
_BINARY: Final = 2


@dataclass(frozen=True)
class Examples:
    """Features, float32 or texts, and what is to be predicted: whole numbers or texts of classes, or numbers."""

    features: pd.DataFrame
    label: "pd.Series[Any]"
    task: Task


def examples(table: pd.DataFrame, training: Training) -> Examples:
    """Split a prepared table into features and label, and tell the task.

    Raises:
        ParameterError: the label is absent, or does not fit the task or the estimator.
    """
    if training.label not in table.columns:
        raise ParameterError(
            "label", f"must be a column of the prepared table ({', '.join(table.columns)})", training.label
        )
    label = table[training.label]
    if label.isna().any():
        raise TableError(f"label column '{training.label}' must have no missing values")
    features = table.drop(columns=[name for name in (training.label, training.time_column) if name in table.columns])
    task = _task(label, training)
    return Examples(_normalised(features), _as_label(label, task), task)


def pipeline(training: Training, data: Examples, seed: int) -> Pipeline:
    """Return an unfitted pipeline for these examples."""
    estimator = training.estimator or Estimator.GRADIENT_BOOSTING
    texts = [name for name in data.features.columns if data.features[name].dtype == object]
    numbers = [name for name in data.features.columns if name not in texts]
    parts: list[tuple[str, Any, list[str]]] = []
    if numbers:
        parts.append(("numbers", _numbers(estimator), numbers))
    if texts:
        categories = [_categories(data, name, training.max_categories, ordered=estimator.has_trees) for name in texts]
        parts.append(("texts", _encoder(estimator, categories), texts))
    return Pipeline([("columns", ColumnTransformer(parts)), ("model", _model(estimator, training, data.task, seed))])


def _task(label: "pd.Series[Any]", training: Training) -> Task:
    distinct = int(label.nunique())
    numeric = pd.api.types.is_numeric_dtype(label.dtype)
    task = training.task
    if task is None and numeric and not set(label.unique()) <= {0, 1}:
        task = Task.REGRESSION
    elif task is None:
        task = Task.BINARY_CLASSIFICATION if distinct <= _BINARY else Task.MULTICLASS_CLASSIFICATION
    if task is Task.OTHER or (task is Task.REGRESSION and not numeric):
        raise ParameterError("task", f"must fit the label '{training.label}' ({label.dtype})", task)
    if task.is_classification and not (_BINARY <= distinct <= MAX_CLASSES):
        raise ParameterError(
            "label", f"must have from 2 to {MAX_CLASSES} classes among the rows to train on", f"{distinct}"
        )
    if task is Task.BINARY_CLASSIFICATION and distinct != _BINARY:
        raise ParameterError("task", f"must be {Task.MULTICLASS_CLASSIFICATION} for {distinct} classes", task)
    only = {Estimator.LOGISTIC_REGRESSION: True, Estimator.LINEAR_REGRESSION: False}
    if training.estimator in only and only[training.estimator] is not task.is_classification:
        raise ParameterError(
            "estimator", f"must suit the task {task} of the label '{training.label}'", training.estimator
        )
    return task


def _as_label(label: "pd.Series[Any]", task: Task) -> "pd.Series[Any]":
    if task is Task.REGRESSION:
        return label.astype(np.float64)
    if pd.api.types.is_numeric_dtype(label.dtype) and (label == label.round()).all():
        return label.astype(np.int64)
    return label.astype(str).astype(object)


def _normalised(features: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name in features.columns:
        values = features[name]
        if pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
            columns[name] = pd.Series(values.to_numpy(dtype=np.float32, na_value=np.nan))
        elif pd.api.types.is_string_dtype(values.dtype) or isinstance(values.dtype, pd.CategoricalDtype):
            columns[name] = pd.Series(values.astype(object).where(values.notna(), "").to_numpy(), dtype=object)
        else:
            raise TableError(
                f"feature column '{name}' has the type {values.dtype}, must be numbers or texts; exclude it"
            )
    if not columns:
        raise TableError("the table must have at least one feature column")
    return pd.DataFrame(columns)


def _categories(data: Examples, name: str, limit: int, *, ordered: bool) -> list[str]:
    """Return the texts that get a code of their own: the most frequent ones.

    For trees they are in order of the mean label, so that one split parts the likely from the unlikely.
    """
    values = data.features[name]
    frequent = values.value_counts()
    frequent = frequent[frequent >= min(MIN_CATEGORY_ROWS, frequent.max())]
    kept = sorted(frequent.sort_index().sort_values(ascending=False, kind="stable").index[:limit])
    if not ordered or data.task is Task.MULTICLASS_CLASSIFICATION:
        return kept
    numbers = data.label.rank(method="dense") if data.label.dtype == object else data.label
    means = numbers.groupby(values.to_numpy()).mean()
    return sorted(kept, key=lambda text: (means[text], text))


def _numbers(estimator: Estimator) -> Any:
    match estimator:
        case Estimator.GRADIENT_BOOSTING:
            return "passthrough"
        case Estimator.RANDOM_FOREST:
            return SimpleImputer(strategy="median", keep_empty_features=True)
        case Estimator.LOGISTIC_REGRESSION | Estimator.LINEAR_REGRESSION:
            imputer = SimpleImputer(strategy="median", keep_empty_features=True)
            return Pipeline([("impute", imputer), ("scale", StandardScaler())])


def _encoder(estimator: Estimator, categories: list[list[str]]) -> Any:
    match estimator:
        case Estimator.GRADIENT_BOOSTING | Estimator.RANDOM_FOREST:
            unknown = np.nan if estimator is Estimator.GRADIENT_BOOSTING else -1
            return OrdinalEncoder(
                categories=categories, handle_unknown="use_encoded_value", unknown_value=unknown, dtype=np.float32
            )
        case Estimator.LOGISTIC_REGRESSION | Estimator.LINEAR_REGRESSION:
            return OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False, dtype=np.float32)


def _model(estimator: Estimator, training: Training, task: Task, seed: int) -> Any:
    classifies = task.is_classification
    match estimator:
        case Estimator.GRADIENT_BOOSTING:
            boosting = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
            return boosting(
                max_iter=training.iterations or 100,
                learning_rate=training.learning_rate or 0.1,
                max_depth=training.max_depth,
                max_leaf_nodes=training.max_leaf_nodes or 31,
                min_samples_leaf=training.min_leaf_rows or 20,
                l2_regularization=training.regularization or 0.0,
                early_stopping=False,
                random_state=seed,
            )
        case Estimator.RANDOM_FOREST:
            forest = RandomForestClassifier if classifies else RandomForestRegressor
            return forest(
                n_estimators=training.iterations or 100,
                max_depth=training.max_depth or 12,
                max_leaf_nodes=training.max_leaf_nodes,
                min_samples_leaf=training.min_leaf_rows or 20,
                random_state=seed,
                n_jobs=-1,
            )
        case Estimator.LOGISTIC_REGRESSION:
            strength = 1.0 if training.regularization is None else training.regularization
            inverse = 1.0 / strength if strength else np.inf
            return LogisticRegression(C=inverse, max_iter=training.iterations or 1000, random_state=seed)
        case Estimator.LINEAR_REGRESSION:
            return LinearRegression()
