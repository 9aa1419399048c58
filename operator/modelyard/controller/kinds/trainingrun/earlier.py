"""Finding the steps of other runs by their identity, through an index of the cache."""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import ValidationError

from modelyard.api.v1alpha1.common import NamedDecimal
from modelyard.api.v1alpha1.trainingrun import DONE, TrainingRun
from modelyard.controller.engine.manifests import Manifest, name_of, namespace_of, uid_of
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.trainingrun.observed import Earlier, EarlierStep

IDENTITY_INDEX: Final = "identity"
"""Index of a store of TrainingRuns: those of one model in one namespace with a step of an identity that is done."""


_NEWEST: Final = 4
"""How many runs are read: many may have done the same, and one is enough."""


def identities_of(run: Manifest) -> Iterable[str]:
    """Index function of a store of TrainingRuns."""
    steps = run.get("status", {}).get("steps", ())
    return (
        _value(namespace_of(run), run["spec"]["model"], step["identity"])
        for step in steps
        if step.get("state") in DONE and "identity" in step
    )


def earlier_steps(runs: Store, run: TrainingRun, identity: str) -> Earlier:
    """Return the steps of an identity that other runs of the same model have done, those that ended last.

    Args:
        runs: with the index IDENTITY_INDEX.
        run: the run that asks.
        identity: identity of the step that it is about.
    """
    found = runs.by_index(IDENTITY_INDEX, _value(run.metadata.namespace, run.spec.model, identity))
    others = (manifest for manifest in found if uid_of(manifest) != run.metadata.uid)
    newest = heapq.nlargest(_NEWEST, others, key=lambda manifest: _ended(manifest, identity))
    return Earlier(identity, tuple(step for manifest in newest for step in _steps(manifest, identity)))


def _value(namespace: str, model: str, identity: str) -> str:
    return f"{namespace}/{model}/{identity}"


def _ended(manifest: Manifest, identity: str) -> tuple[str, str]:
    steps = (step for step in manifest["status"]["steps"] if step.get("identity") == identity)
    return max(str(step.get("completionTime", "")) for step in steps), name_of(manifest)


def _steps(manifest: Manifest, identity: str) -> Iterator[EarlierStep]:
    """Yield the steps of a run that have an identity; a run that this operator cannot read has none."""
    try:
        run = TrainingRun.model_validate(manifest)
    except ValidationError:
        return
    for step in run.status.steps:
        if step.identity == identity and step.state in DONE:
            reported = (metric for metric in run.status.metrics if metric.step == step.name)
            metrics = tuple(NamedDecimal(name=metric.name, value=metric.value) for metric in reported)
            yield EarlierStep(run.metadata.name, step, metrics, run.status.model_version_name)
