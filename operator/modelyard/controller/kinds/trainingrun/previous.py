"""What the run before this one read, for the checks of the inputs. Pure."""

from collections.abc import Iterable

from pydantic import ValidationError

from modelyard.api.v1alpha1.common import ConditionStatus
from modelyard.api.v1alpha1.names import PROFILE_OUTPUT, VALIDATE_STEP
from modelyard.api.v1alpha1.trainingrun import ConditionType, Output, TrainingRun
from modelyard.controller.engine.manifests import Manifest, uid_of


def previous_profile(runs: Iterable[Manifest], run_uid: str) -> Output | None:
    """Return the profile of the newest run that succeeded and left one, None when there is none.

    Args:
        runs: the runs of a model in its namespace; those that this operator cannot read are left out.
        run_uid: uid of the run that asks, which does not count.
    """
    others = (_read(manifest) for manifest in runs if uid_of(manifest) != run_uid)
    profiles = [
        (run.status.completion_time or "", run.metadata.uid, profile)
        for run in others
        if run and (profile := _profile(run))
    ]
    return max(profiles, key=lambda found: found[:2])[2] if profiles else None


def _read(manifest: Manifest) -> TrainingRun | None:
    try:
        return TrainingRun.model_validate(manifest)
    except ValidationError:
        return None


def _profile(run: TrainingRun) -> Output | None:
    succeeded = any(
        c.type == ConditionType.SUCCEEDED and c.status is ConditionStatus.TRUE for c in run.status.conditions
    )
    outputs = (output for step in run.status.steps if step.name == VALIDATE_STEP for output in step.outputs)
    return next((output for output in outputs if output.name == PROFILE_OUTPUT), None) if succeeded else None
