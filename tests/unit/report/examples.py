"""Judged models of each kind, with names that try to break out of the page."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np

from modelyard.api.v1alpha1.modelversion import Evaluation, ModelVersionSpec
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec
from modelyard.report.evidence import Evidence, JudgedGroup
from modelyard.report.page import Subject
from modelyard.statistics.comparison import compare
from modelyard.statistics.importance import Drop, Importance
from modelyard.statistics.metrics import Classified, Estimated, Predicted, metrics_of
from modelyard.statistics.verdict import Group, Range

HEX = "1" * 64
DIGEST = f"sha256:{HEX}"
EVIL = "<script>alert('x')</script>\"&\u202e"


def classified(classes: int, rows: int = 300, seed: int = 0) -> Classified:
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, rows)
    raw = random.random((rows, classes)) + 0.8 * np.eye(classes)[truth]
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return Classified(truth, probabilities.argmax(axis=1), probabilities)


def estimated(rows: int = 900, seed: int = 0) -> Estimated:
    random = np.random.default_rng(seed)
    truth = random.normal(scale=1000, size=rows)
    return Estimated(truth, truth + random.normal(scale=300, size=rows))


def record(**changes: Any) -> ModelVersionSpec:
    return ModelVersionSpec.model_validate(
        {
            "model": "flight-delay",
            "version": 7,
            "artifact": {"uri": f"s3://store/blobs/sha256/{HEX}", "digest": DIGEST, "bytes": 12345},
            "lineage": {
                "trainingRun": {"name": "r", "uid": "uid-1", "namespace": "air", "startTime": "2026-11-25T09:00:00Z"},
                "code": [{"step": "train", "image": f"registry.example.com/train@{DIGEST}"}],
                "inputs": [{"name": "flights", "uri": "s3://air/flights/", "digest": DIGEST}],
                "parametersDigest": DIGEST,
                "seed": 7,
            },
            "card": {"requestedBy": EVIL},
            **changes,
        }
    )


def subject(
    model: Predicted, champion: Predicted | None, classes: Sequence[str] = (), importance: Importance | None = None
) -> Subject:
    metric = "accuracy" if isinstance(model, Classified) else "meanAbsoluteError"
    goal = "Maximize" if isinstance(model, Classified) else "Minimize"
    asked = EvaluationSpec.model_validate(
        {
            "dataset": "features/test",
            "metric": metric,
            "goal": goal,
            "slices": [{"column": "carrier", "maximumRegression": "0.02"}],
            "thresholds": [{"metric": metric, "minimum": "0.1"}],
        }
    )
    rival = {"version": 6, "digest": DIGEST, "value": "0.5"} if champion else None
    evaluation = Evaluation.model_validate(
        {
            "metric": metric,
            "goal": goal,
            "value": "0.6",
            "rows": model.rows,
            "datasetDigest": DIGEST,
            "champion": rival,
            "verdict": "BetterThanChampion" if champion else "FirstVersion",
            "message": f"because {EVIL}",
        }
    )
    small = Decimal("0.1")
    usual = Group("carrier", EVIL, 80, small, small, Range(-small, small))
    tiny = Group("carrier", "", 3, small, None)
    worse = Group("carrier", "HA", 98, small, 2 * small, Range(-2 * small, -small))
    groups = (
        JudgedGroup(usual, is_large_enough=True, is_regressed=False),
        JudgedGroup(tiny, is_large_enough=False, is_regressed=False),
        JudgedGroup(worse, is_large_enough=True, is_regressed=True),
    )
    drops = (Drop(EVIL, 0.12, 0.01), Drop("distance", 0.01, 0.02), Drop("noise", -0.001, 0.001))
    evidence = Evidence(
        label="late",
        classes=tuple(classes),
        model=model,
        champion=champion,
        scores=tuple(compare(metric, model, champion, seed=0) for metric in metrics_of(model)),
        groups=groups,
        importance=importance or Importance(200, drops),
    )
    return Subject(record(), asked, evaluation, evidence, {"maxDepth": "6", "note": EVIL})


def binary(champion: bool = True) -> Subject:
    return subject(classified(2), classified(2, seed=1) if champion else None, ("0", EVIL))


def multiclass(classes: int = 3) -> Subject:
    return subject(classified(classes), classified(classes, seed=1), [EVIL, *(f"class {n}" for n in range(1, classes))])


def regression() -> Subject:
    return subject(estimated(), estimated(seed=1))


def reported() -> Subject:
    asked = EvaluationSpec.model_validate({"by": "Step", "metric": "ndcg", "goal": "Maximize"})
    body = {"by": "Step", "metric": "ndcg", "value": "0.4", "verdict": "NotBetter", "message": EVIL}
    return Subject(record(), asked, Evaluation.model_validate(body))


EXAMPLES: Mapping[str, Callable[[], Subject]] = {
    "binary": binary,
    "first": lambda: binary(champion=False),
    "multiclass": multiclass,
    "many": lambda: multiclass(30),
    "regression": regression,
    "reported": reported,
}


@cache
def example(name: str) -> Subject:
    return EXAMPLES[name]()
