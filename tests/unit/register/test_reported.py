import pytest

from modelyard.api.v1alpha1.modelversion import Verdict
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec
from modelyard.steps.evaluation.errors import MetricMissing
from modelyard.steps.evaluation.reported import evaluate_reported

DIGEST = "sha256:" + "1" * 64
CHAMPION = (6, DIGEST)


def spec(**changes: object) -> EvaluationSpec:
    return EvaluationSpec.model_validate({"by": "Step", "metric": "ndcg@10", "goal": "Maximize", **changes})


def test_numbers_of_the_step_decide() -> None:
    found = evaluate_reported(spec(), {"ndcg@10": "0.45", "champion.ndcg@10": "0.44", "loss": "0.3"}, CHAMPION)
    assert (found.by, found.verdict, found.rows, found.dataset_digest) == (
        "Step",
        Verdict.BETTER_THAN_CHAMPION,
        None,
        None,
    )
    assert found.champion is not None
    assert found.champion.difference is not None
    assert (found.champion.value, found.champion.difference.value, found.champion.difference.low) == (
        "0.44",
        "0.01",
        None,
    )
    assert {metric.name: metric.value for metric in found.metrics} == {"loss": "0.3"}
    assert found.message == "ndcg@10 0.45 is 0.01 better than version 6 (0.44)."


def test_worse_numbers_and_thresholds_are_refused() -> None:
    worse = evaluate_reported(spec(), {"ndcg@10": "0.4", "champion.ndcg@10": "0.44"}, CHAMPION)
    assert worse.verdict is Verdict.NOT_BETTER
    low = evaluate_reported(
        spec(thresholds=[{"metric": "map", "minimum": "0.5"}]), {"ndcg@10": "1", "map": "0.4"}, None
    )
    assert (low.verdict, low.message) == (Verdict.BELOW_THRESHOLD, "map 0.4 is below the minimum of 0.5.")


def test_first_version_needs_no_champion() -> None:
    assert evaluate_reported(spec(), {"ndcg@10": "0.4"}, None).verdict is Verdict.FIRST_VERSION


@pytest.mark.parametrize(
    ("reported", "thresholds", "message"),
    [
        ({}, [], r"evaluation\.metric: no step reported the metric 'ndcg@10'; none was reported"),
        ({"loss": "1"}, [], r"no step reported the metric 'ndcg@10'; reported were loss"),
        (
            {"ndcg@10": "1"},
            [{"metric": "map", "minimum": "0"}],
            r"evaluation\.thresholds: no step reported the metric 'map'",
        ),
        ({"ndcg@10": "1"}, [], r"no step reported 'champion\.ndcg@10'; version 6 is the champion"),
    ],
)
def test_number_that_was_not_reported_is_named(
    reported: dict[str, str], thresholds: list[object], message: str
) -> None:
    with pytest.raises(MetricMissing, match=message):
        evaluate_reported(spec(thresholds=thresholds), reported, CHAMPION)
