from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.model import Task
from modelyard.steps.tabular.parameters import (
    Comparison,
    Estimator,
    Join,
    Label,
    ParameterError,
    Split,
    parse_label,
    parse_preparation,
    parse_training,
    unused,
)

LEAST = {"label": "late", "timeColumn": "t"}


def test_least_parameters_have_defaults() -> None:
    preparation = parse_preparation(LEAST)
    assert preparation.label == Label("late", name="late")
    assert (preparation.split, preparation.test_fraction, preparation.deduplicate) == (Split.LATEST, 0.2, True)
    training = parse_training(LEAST)
    assert (training.label, training.estimator, training.task, training.max_categories) == ("late", None, None, 100)


def test_all_parameters_are_read() -> None:
    texts = {
        "label": " arr_delay >= 15.5 ",
        "labelName": "late",
        "join": "weather: origin, time_hour ; planes:tailnum",
        "exclude": "a, b",
        "categorical": "flight",
        "timeColumn": "time_hour",
        "trainUntil": "2013-05-01",
        "deduplicate": "false",
        "estimator": "gradientBoosting",
        "task": "BinaryClassification",
        "iterations": "50",
        "maxDepth": "6",
        "learningRate": "0.05",
        "regularization": "1",
    }
    preparation = parse_preparation(texts)
    assert preparation.label == Label("arr_delay", Comparison.GREATER_OR_EQUAL, 15.5, "late")
    assert preparation.joins == (Join("weather", ("origin", "time_hour")), Join("planes", ("tailnum",)))
    assert (preparation.exclude, preparation.categorical) == (("a", "b"), ("flight",))
    assert (preparation.train_until, preparation.deduplicate) == ("2013-05-01", False)
    training = parse_training(texts)
    assert (training.estimator, training.task) == (Estimator.GRADIENT_BOOSTING, Task.BINARY_CLASSIFICATION)
    assert (training.iterations, training.max_depth, training.learning_rate) == (50, 6, 0.05)


@pytest.mark.parametrize(
    ("text", "column", "comparison"),
    [
        ("a>1", "a", ">"),
        ("a<=-1.5", "a", "<="),
        ("a b == 1e3", "a b", "=="),
        ("a != 0", "a", "!="),
        ("a", "a", None),
    ],
)
def test_label_is_a_column_or_a_comparison(text: str, column: str, comparison: str | None) -> None:
    label = parse_label({"label": text})
    assert (label.column, label.comparison) == (column, comparison)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": ""}, "parameter 'label' must be a column, or a column compared with a number"),
        ({"label": "a > b"}, "parameter 'label' must be"),
        ({"timeColumn": ""}, "parameter 'timeColumn' must name the column that orders rows in time, or set 'split'"),
        ({"split": "Random"}, "parameter 'split' must be one of latest, random, got 'Random'"),
        ({"testFraction": "1.5"}, "parameter 'testFraction' must be a number from 0.01 to 0.9, got '1.5'"),
        ({"testFraction": "nan"}, "parameter 'testFraction' must be a number"),
        ({"testFraction": "0.1", "trainUntil": "2013-05-01"}, "parameter 'trainUntil' must be absent when"),
        ({"features": "a", "exclude": "b"}, "parameter 'exclude' must be absent when 'features' is set"),
        ({"join": "weather"}, "parameter 'join' must be like 'weather:origin,time_hour;planes:tailnum'"),
        ({"join": "../x:a"}, "parameter 'join' must be like"),
        ({"deduplicate": "yes"}, "parameter 'deduplicate' must be true or false, got 'yes'"),
        ({"maxDepht": "3"}, "parameter 'maxDepht' is unknown, did you mean 'maxDepth'?"),
    ],
)
def test_wrong_preparation_is_refused_by_name(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_preparation({**LEAST, **changes})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "xgboost"}, "parameter 'estimator' must be one of gradientBoosting, randomForest, logistic"),
        ({"task": "regression"}, "parameter 'task' must be one of BinaryClassification,"),
        ({"iterations": "0"}, "parameter 'iterations' must be a whole number from 1 to 10000, got '0'"),
        ({"maxDepth": "3.5"}, "parameter 'maxDepth' must be a whole number from 1 to 64, got '3.5'"),
        ({"learningRate": "fast"}, "parameter 'learningRate' must be a number from 0.0001 to 1, got 'fast'"),
        (
            {"estimator": "randomForest", "learningRate": "0.1"},
            "parameter 'learningRate' is not used by the estimator randomForest, which takes iterations, maxDepth",
        ),
        ({"learningrate": "0.1"}, "did you mean 'learningRate'?"),
    ],
)
def test_wrong_training_is_refused_by_name(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_training({**LEAST, **changes})
    assert message in str(caught.value)


def test_parameters_of_other_steps_are_named_as_unused() -> None:
    assert unused({"label": "x", "epochs": "3"}) == ("epochs",)


@given(
    st.dictionaries(
        st.sampled_from(["label", "join", "split", "testFraction", "iterations", "x"]), st.text(max_size=20)
    )
)
def test_any_texts_are_read_or_refused(texts: dict[str, Any]) -> None:
    for parse in (parse_preparation, parse_training):
        try:
            parse({**LEAST, **texts})
        except ParameterError:
            continue
