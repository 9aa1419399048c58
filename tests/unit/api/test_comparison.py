from typing import Any

import pytest

from modelyard.api.v1alpha1.comparison import comparison, score
from modelyard.api.v1alpha1.modelversion import Evaluation

DIGEST = "sha256:" + "a" * 64


def evaluation(value: str | None, champion: str | None, goal: str | None = "Maximize") -> Evaluation:
    body: dict[str, Any] = {"metric": "rocAuc", "verdict": "FirstVersion", "value": value, "goal": goal}
    if champion:
        body["champion"] = {"version": 6, "digest": DIGEST, "value": champion}
    return Evaluation.model_validate(body)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (evaluation("0.7134", "0.7092"), "0.0042 better than v6"),
        (evaluation("0.75", "0.65"), "0.1 better than v6"),
        (evaluation("0.7092", "0.7134"), "0.0042 worse than v6"),
        (evaluation("120", "20", "Minimize"), "100 worse than v6"),
        (evaluation("0.5", "0.7", "Minimize"), "0.2 better than v6"),
        (evaluation("0.7", "0.70"), "equal to v6"),
        (evaluation("0.7", None), None),
        (evaluation(None, "0.7"), None),
        (evaluation("0.7", "0.6", None), None),
    ],
)
def test_comparison_says_who_is_better_and_by_how_much(found: Evaluation, text: str | None) -> None:
    assert comparison(found) == text


def test_longest_texts_fit_their_fields() -> None:
    longest = Evaluation.model_validate(
        {
            "metric": "m" * 54,
            "goal": "Minimize",
            "verdict": "NotBetter",
            "value": "-" + "9" * 15 + "." + "9" * 15,
            "champion": {"version": 9_999_999, "digest": DIGEST, "value": "9" * 15 + "." + "9" * 15},
        }
    )
    assert len(score(longest) or "") <= 96
    assert len(comparison(longest) or "") <= 96


def test_score_without_a_value_is_absent() -> None:
    assert score(evaluation("0.7134", None)) == "rocAuc 0.7134"
    assert score(evaluation(None, None)) is None
