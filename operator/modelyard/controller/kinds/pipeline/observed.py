"""All that one decision about a Pipeline rests on. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final

from pydantic import ValidationError

from modelyard.api.v1alpha1.names import ANNOTATION_TEMPLATE_DIGEST
from modelyard.api.v1alpha1.observation import Observation
from modelyard.api.v1alpha1.pipeline import Pipeline, RunResult
from modelyard.api.v1alpha1.trainingrun import ConditionType, RunTrigger
from modelyard.controller.engine.conditions import find_condition
from modelyard.controller.engine.manifests import Manifest, name_of

_ENDS: Final = {"True": RunResult.SUCCEEDED, "False": RunResult.FAILED}


@dataclass(frozen=True)
class Run:
    """A TrainingRun that the Pipeline made and that still exists."""

    manifest: Manifest = field(compare=False)
    name: str
    created: str
    """When it was made."""
    trigger: RunTrigger | None
    """Why it was made; None when a newer operator has written what this one cannot read."""
    template_digest: str
    """Digest of the template that it was made from."""
    result: RunResult
    inputs: Mapping[str, str] | None
    """Digests of its inputs by name; None before they are resolved."""
    version_name: str | None
    """The ModelVersion that it made."""
    message: str
    """What its condition Ready says."""

    @property
    def number(self) -> int:
        """Which of the Pipeline's runs it is; 0 when that cannot be read."""
        return self.trigger.number if self.trigger else 0

    @property
    def is_active(self) -> bool:
        """Say whether it has not ended."""
        return self.result is RunResult.RUNNING


@dataclass(frozen=True)
class Observed:
    """What was read, once, for one pass."""

    manifest: Manifest
    """The Pipeline as it is stored."""
    pipeline: Pipeline
    """The same, typed."""
    now: datetime
    runs: tuple[Run, ...] = ()
    """Its runs that exist, newest first."""
    is_live: bool = False
    """`runs` were read live, and nobody else makes any during this pass."""
    observation: Observation | None = None
    """What the agent saw of this very Pipeline."""
    zone: tzinfo | None = None
    """The schedule's time zone; None when it is not known."""
    deployments: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)
    """The watched Deployments that exist, by namespace and name."""
    tenants: Mapping[str, str] = field(default_factory=dict)
    """Tenants by namespace, of the Pipeline's and of the watched Deployments' that have one."""


def read_run(manifest: Manifest) -> Run:
    """Return what matters of a stored TrainingRun, whichever operator wrote it."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status", {})
    conditions = status.get("conditions", ())
    end, ready = (find_condition(conditions, kind) for kind in (ConditionType.SUCCEEDED, ConditionType.READY))
    result = _ENDS.get(end["status"], RunResult.RUNNING) if end else RunResult.RUNNING
    resolved = {item["name"]: item["digest"] for item in status.get("inputs", ())}
    return Run(
        manifest=manifest,
        name=name_of(manifest),
        created=metadata["creationTimestamp"],
        trigger=_trigger(spec.get("trigger")),
        template_digest=metadata.get("annotations", {}).get(ANNOTATION_TEMPLATE_DIGEST, ""),
        result=result,
        inputs=resolved if len(resolved) == len(spec.get("inputs", ())) else None,
        version_name=status.get("modelVersionName") if result is RunResult.SUCCEEDED else None,
        message=ready.get("message", "") if ready else "",
    )


def _trigger(stored: object) -> RunTrigger | None:
    try:
        return RunTrigger.model_validate(stored)
    except ValidationError:
        return None
