"""What the agent needs to know of the objects it observes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelyard.api.v1alpha1.names import observation_name
from modelyard.api.v1alpha1.trainingrun import ProgressMode

TRAINING_RUN: Final = "TrainingRun"
MODEL_VERSION: Final = "ModelVersion"
PIPELINE: Final = "Pipeline"

POLL_SECONDS: Final = 300


@dataclass(frozen=True)
class Reference:
    """One object."""

    kind: str
    name: str
    uid: str

    @property
    def observation(self) -> str:
        """Name of its Observation."""
        return observation_name(self.kind, self.name)


@dataclass(frozen=True)
class Input:
    """One input of a run or of a Pipeline's template."""

    name: str
    uri: str
    pinned: str | None
    """Digest that it must have."""


@dataclass(frozen=True)
class Run:
    """A TrainingRun that is not finished."""

    reference: Reference
    inputs: tuple[Input, ...]
    resolved: bool
    """The operator has recorded what the inputs are; they are looked at no more."""
    running: tuple[tuple[str, int], ...]
    """Steps whose state is Running, with their attempt."""
    candidates: tuple[str, ...]
    """URIs of outputs that the next step may take over from an earlier run."""
    live: frozenset[str] = frozenset()
    """Steps whose progress is looked for while they run."""


@dataclass(frozen=True)
class Version:
    """A ModelVersion."""

    reference: Reference
    uri: str
    digest: str


@dataclass(frozen=True)
class Pipeline:
    """A Pipeline whose inputs are to be looked at again and again."""

    reference: Reference
    inputs: tuple[Input, ...]
    poll_seconds: float


Subject = Run | Version | Pipeline


def read_run(manifest: Mapping[str, Any]) -> Run | None:
    """Return what matters of a TrainingRun; None when it is finished."""
    spec, status = manifest.get("spec", {}), manifest.get("status", {})
    if status.get("completionTime"):
        return None
    steps = status.get("steps", ())
    inputs = _inputs(spec)
    return Run(
        _reference(TRAINING_RUN, manifest),
        inputs,
        resolved=len(status.get("inputs", ())) == len(inputs),
        running=tuple((step["name"], step["attempt"]) for step in steps if step.get("state") == "Running"),
        candidates=tuple(
            dict.fromkeys(out["uri"] for step in steps for out in step.get("candidate", {}).get("outputs", ()))
        ),
        live=frozenset(step["name"] for step in spec.get("steps", ()) if step.get("progress") == ProgressMode.LIVE),
    )


def read_version(manifest: Mapping[str, Any]) -> Version:
    """Return what matters of a ModelVersion."""
    artifact = manifest["spec"]["artifact"]
    return Version(_reference(MODEL_VERSION, manifest), artifact["uri"], artifact["digest"])


def read_pipeline(manifest: Mapping[str, Any]) -> Pipeline | None:
    """Return what matters of a Pipeline; None when nothing is to be looked at for it."""
    spec = manifest.get("spec", {})
    trigger = spec.get("triggers", {}).get("inputs")
    if trigger is None or spec.get("suspend"):
        return None
    names = trigger.get("names")
    template = _inputs(spec.get("template", {}).get("spec", {}))
    inputs = tuple(item for item in template if item.pinned is None and (not names or item.name in names))
    reference = _reference(PIPELINE, manifest)
    return Pipeline(reference, inputs, float(trigger.get("pollSeconds", POLL_SECONDS))) if inputs else None


def _inputs(spec: Mapping[str, Any]) -> tuple[Input, ...]:
    return tuple(Input(item["name"], item["uri"], item.get("digest")) for item in spec.get("inputs", ()))


def _reference(kind: str, manifest: Mapping[str, Any]) -> Reference:
    return Reference(kind, manifest["metadata"]["name"], manifest["metadata"]["uid"])
