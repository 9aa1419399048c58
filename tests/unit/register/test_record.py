from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.modelversion import Evaluation
from modelyard.steps.evaluation.record import MAX_BYTES, fitted
from modelyard.storage.results import MESSAGE_BYTES, to_message

DIGEST = "sha256:" + "1" * 64
NUMBER = "-0.123456789012345"
LETTERS = st.sampled_from(["a", "ü", "\U0001f6eb", '"'])


def evaluation(name: str, *, slices: int, features: int) -> Evaluation:
    difference = {"value": NUMBER, "low": NUMBER, "high": NUMBER}
    return Evaluation.model_validate(
        {
            "metric": "expectedCalibrationError",
            "goal": "Minimize",
            "value": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
            "rows": 9_007_199_254_740_991,
            "datasetDigest": DIGEST,
            "reportDigest": DIGEST,
            "verdict": "BetterThanChampion",
            "message": "m" * 700,
            "champion": {"version": 9_999_999, "digest": DIGEST, "value": NUMBER, "difference": difference},
            "metrics": [{"name": f"metric-of-a-long-name-{n}", "value": NUMBER} for n in range(9)],
            "slices": [
                {
                    "column": f"{n}{name}"[:128],
                    "group": name[:100],
                    "groups": 200,
                    "rows": 1_000_000,
                    "value": NUMBER,
                    "champion": NUMBER,
                    "difference": difference,
                }
                for n in range(slices)
            ],
            "importance": [{"feature": f"{n}{name}"[:128], "value": NUMBER} for n in range(features)],
        }
    )


@given(LETTERS, st.integers(0, 130), st.integers(0, 8), st.integers(0, 16))
def test_result_of_register_fits_a_termination_message(letter: str, length: int, slices: int, features: int) -> None:
    whole = evaluation(letter * length, slices=slices, features=features)
    kept = fitted(whole)
    content = kept.model_dump(by_alias=True, exclude_none=True, mode="json")
    message = to_message({"artifact": {"schemaDigest": DIGEST, "datasetDigest": DIGEST}, "evaluation": content})
    assert len(message.encode()) <= MESSAGE_BYTES
    assert kept.importance == whole.importance[: len(kept.importance)]
    assert kept.slices == whole.slices[: len(kept.slices)]


def test_what_fits_is_kept_whole() -> None:
    whole = evaluation("carrier", slices=1, features=8)
    assert fitted(whole) == whole


def test_least_important_features_go_first() -> None:
    kept = fitted(evaluation("n" * 60, slices=3, features=16))
    assert len(kept.slices) == 3
    assert 0 < len(kept.importance) < 16
    assert len(kept.model_dump_json(by_alias=True, exclude_none=True)) <= MAX_BYTES
