"""Objects of the tests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.api.v1alpha1.names import API_VERSION
from modelyard.api.v1alpha1.observation import Observation
from modelyard.api.v1alpha1.trainingrun import TrainingRun
from modelyard.controller.engine.conditions import Condition, merge_conditions
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.plan import Plan
from modelyard.controller.kinds.stepjob import Images
from modelyard.controller.kinds.trainingrun.decide import RunPlan, decide
from modelyard.controller.kinds.trainingrun.observed import Earlier, EarlierStep, Observed

START = datetime(2026, 1, 1, tzinfo=UTC)

EVALUATION = {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize"}
PREPARE = {"name": "prepare", "uses": "tabular/prepare@v1", "inputs": ["flights"], "outputs": ["features"]}
TRAIN = {"name": "train", "image": "example.com/train:1", "inputs": ["features"], "outputs": ["model"]}
PINNED = {**TRAIN, "image": f"example.com/train@sha256:{'9' * 64}"}


def spec(**changes: Any) -> dict[str, Any]:
    base = {
        "model": "flight-delay",
        "inputs": [{"name": "flights", "uri": "s3://air/flights/"}],
        "steps": [PREPARE, TRAIN],
        "evaluation": EVALUATION,
    }
    merged = {**base, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def typed(manifest: Manifest) -> TrainingRun:
    return TrainingRun.model_validate(manifest)


def run_manifest(status: dict[str, Any] | None = None, **changes: Any) -> Manifest:
    metadata = {
        "name": "nightly",
        "namespace": "air",
        "uid": "run-uid",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    manifest = {"apiVersion": API_VERSION, "kind": "TrainingRun", "metadata": metadata, "spec": spec(**changes)}
    return manifest if status is None else {**manifest, "status": status}


def observe(manifest: Manifest, *, seconds: float = 0.0, **more: Any) -> Observed:
    return Observed(
        manifest=manifest,
        run=typed(manifest),
        images=Images(trainer="registry.example/trainer:1", pull_policy="IfNotPresent"),
        now=START + timedelta(seconds=seconds),
        **more,
    )


def observation(*inputs: dict[str, Any], outputs: Sequence[dict[str, Any]] = ()) -> Observation:
    subject = {"kind": "TrainingRun", "name": "nightly", "uid": "run-uid"}
    body = {
        "subject": subject,
        "observedTime": "2026-01-01T00:00:00Z",
        "inputs": list(inputs),
        "outputs": list(outputs),
    }
    metadata = {"name": "trainingrun-nightly", "namespace": "air", "uid": "observation-uid"}
    return Observation.model_validate({"metadata": metadata, "spec": body})


def decided(observed: Observed, *earlier: EarlierStep) -> RunPlan:
    """The plan, with these steps of other runs under whatever identity is asked for."""
    plan = decide(observed)
    if plan.needs_earlier is None:
        return plan
    return decide(replace(observed, earlier=Earlier(plan.needs_earlier, earlier)))


def sha(letter: str) -> str:
    return "sha256:" + letter * 64


def condition(plan: Plan, type_: str) -> Condition:
    return next(c for c in plan.conditions if c.type == type_)


def recorded(plan: Plan) -> dict[str, Any]:
    """The status as it is after the plan was carried out."""
    merged = merge_conditions([], plan.conditions, 1, START)
    return {**(plan.status or {}), "conditions": merged, "observedGeneration": 1}
