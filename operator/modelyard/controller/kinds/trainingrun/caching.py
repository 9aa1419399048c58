"""Whether the next step must run, or what an earlier run made of it can be taken over. Pure.

A step that waits is looked up once, and the outcome is recorded before anything is built on it: its identity alone
means that it runs; a candidate, that the agent is asked whether the outputs are still in the store.
"""

from dataclasses import dataclass
from typing import Final

from modelyard.api.v1alpha1.modelversion import ModelVersion, Verdict
from modelyard.api.v1alpha1.names import MODEL_OUTPUT, REGISTER_STEP
from modelyard.api.v1alpha1.observation import OutputState
from modelyard.api.v1alpha1.trainingrun import (
    DONE,
    CacheCandidate,
    CachePolicy,
    Step,
    StepState,
    StepStatus,
    TrainingRunStatus,
)
from modelyard.controller.engine.conditions import cut, timestamp
from modelyard.controller.kinds.attempts import Attempt
from modelyard.controller.kinds.trainingrun.children import job_image, job_sources
from modelyard.controller.kinds.trainingrun.identity import code_of, step_identity, version_identity
from modelyard.controller.kinds.trainingrun.observed import EarlierStep, Observed
from modelyard.controller.kinds.trainingrun.results import newest_metrics
from modelyard.handover import outputs_of, step_sources
from modelyard.lineage.record import lineage_of

CHECK_PATIENCE: Final = 60.0
"""Seconds after which a step runs although nobody has said whether earlier outputs are still there."""


@dataclass(frozen=True)
class Unanswered:
    """What must be known before the next step can be decided about: which earlier steps have this identity."""

    identity: str


def look_up(observed: Observed) -> TrainingRunStatus | Unanswered:
    """Return the status with the next step Cached, with a candidate, or to be run.

    Args:
        observed: with the status that is to be recorded in its run; its inputs are known. Steps that Modelyard adds,
            `register` aside, always run.
    """
    status = observed.run.status
    step = next((step for step in status.steps if step.state not in DONE), None)
    if step is None or not _is_new(observed, step):
        return status
    if step.name == REGISTER_STEP:
        return _look_up_version(observed, step)
    if step.candidate:
        return _with_checked(status, _checked(observed, step, step.candidate), step.candidate)
    asked = observed.asked(step.name)
    if asked is None:
        return status
    found = _look_up_step(observed, asked, step)
    return found if isinstance(found, Unanswered) else _with_step(status, found)


def check_due(observed: Observed, step: StepStatus) -> float | None:
    """Return the seconds until a step runs although its candidate was not checked."""
    if step.candidate is None:
        return None
    return max(0.0, CHECK_PATIENCE - observed.seconds_since(step.candidate.time))


def ran_identity(observed: Observed, attempt: Attempt) -> str | None:
    """Return the identity of a step that has run, from its Job: the champion may be another one by now.

    None when it is not known what the container saw.
    """
    step, trainer, read = observed.asked(attempt.step), job_image(attempt.manifest), job_sources(attempt.manifest)
    if step is None or trainer is None or read is None or step.env_from:
        return None
    code = code_of(step, trainer, attempt.image)
    return step_identity(observed.run.spec, step, code, read) if code else None


def published_identity(observed: Observed, version: ModelVersion) -> str | None:
    """Return the identity of the step that registered a version; None when its verdict does not hold."""
    judged = version.spec.evaluation
    if version.spec.lineage is None or (judged and judged.verdict is Verdict.CHAMPION_MOVED):
        return None
    return version_identity(
        version.spec.artifact.digest,
        version.spec.lineage,
        evaluation=observed.run.spec.evaluation,
        dataset_digest=_dataset_digest(observed),
        rival_digest=judged.champion.digest if judged and judged.champion else None,
    )


def _is_new(observed: Observed, step: StepStatus) -> bool:
    """Say whether a step may be looked up: nothing was done for it yet, and nothing is to wait."""
    return step.state is StepState.WAITING and step.attempt == 0 and not observed.run.spec.suspend


def _look_up_step(observed: Observed, asked: Step, step: StepStatus) -> StepStatus | Unanswered:
    if asked.cache is CachePolicy.NEVER or step.identity:
        return step
    code = code_of(asked, observed.images.trainer)
    if asked.env_from:
        return _noted(step, "runs in any case: what `envFrom` brings is not known")
    if code is None:
        return _noted(step, f"runs in any case: image '{asked.image}' is not pinned by digest (name@sha256:…)")
    identity = step_identity(observed.run.spec, asked, code, step_sources(observed.run, asked, observed.champion))
    if observed.earlier is None or observed.earlier.identity != identity:
        return Unanswered(identity)
    whole = (e for e in observed.earlier.steps if {o.name for o in e.status.outputs} == set(asked.outputs))
    newest = max(whole, key=lambda e: (e.status.completion_time or "", e.run), default=None)
    candidate = _candidate(observed, newest) if newest else None
    return step.model_copy(update={"identity": identity, "candidate": candidate})


def _candidate(observed: Observed, earlier: EarlierStep) -> CacheCandidate:
    return CacheCandidate(
        training_run=earlier.status.taken_from or earlier.run,
        time=timestamp(observed.now),
        image=earlier.status.image,
        outputs=earlier.status.outputs,
        metrics=earlier.metrics,
    )


def _checked(observed: Observed, step: StepStatus, candidate: CacheCandidate) -> StepStatus:
    """Return what becomes of a step once the agent has said what is still there, or has said nothing for too long."""
    seen = {item.uri: item for item in observed.observation.spec.outputs} if observed.observation else {}
    found = [seen[output.uri] for output in candidate.outputs if output.uri in seen]
    gone = next((item for item in found if item.state is OutputState.MISSING), None)
    if gone:
        return _refused(step, f"runs again, since run '{candidate.training_run}' has lost an output: {gone.message}")
    if len(found) == len(candidate.outputs) and all(item.state is OutputState.PRESENT for item in found):
        return _cached(observed, step, candidate)
    if check_due(observed, step):
        return step
    why = next((item.message for item in found if item.message), "no agent has looked")
    return _refused(
        step,
        f"runs again, since nobody knows whether the outputs of run '{candidate.training_run}' are still there: {why}",
    )


def _cached(observed: Observed, step: StepStatus, candidate: CacheCandidate) -> StepStatus:
    return StepStatus(
        name=step.name,
        state=StepState.CACHED,
        completion_time=timestamp(observed.now),
        image=candidate.image,
        message=f"taken over from run '{candidate.training_run}'",
        identity=step.identity,
        taken_from=candidate.training_run,
        outputs=candidate.outputs,
    )


def _look_up_version(observed: Observed, step: StepStatus) -> TrainingRunStatus | Unanswered:
    """Return the status with the version that registering would only make anew, if there is one."""
    status = observed.run.status
    if status.model_version_name:
        return status
    digest = outputs_of(observed.run)[MODEL_OUTPUT].digest
    identity = version_identity(
        digest,
        lineage_of(observed.run, observed.champion),
        evaluation=observed.run.spec.evaluation,
        dataset_digest=_dataset_digest(observed),
        rival_digest=_rival_digest(observed, digest),
    )
    if observed.earlier is None or observed.earlier.identity != identity:
        return Unanswered(identity)
    versions = {version.metadata.name: version for version in observed.versions}
    same = [
        (version.spec.version, earlier)
        for earlier in observed.earlier.steps
        if (version := versions.get(earlier.version_name or "")) and version.spec.artifact.digest == digest
    ]
    if not same:
        return status
    _, newest = max(same, key=lambda found: (found[0], found[1].run))
    cached = StepStatus(
        name=step.name,
        state=StepState.CACHED,
        completion_time=timestamp(observed.now),
        image=newest.status.image,
        message=f"the same as ModelVersion '{newest.version_name}'",
        identity=identity,
        taken_from=newest.status.taken_from or newest.run,
    )
    return _with_step(status, cached).model_copy(update={"model_version_name": newest.version_name})


def _rival_digest(observed: Observed, digest: str) -> str | None:
    """Return the champion that the model is to beat: where it is the champion itself, the one that it did beat."""
    champion = observed.champion
    if champion is None or champion.spec.artifact.digest != digest:
        return champion.spec.artifact.digest if champion else None
    judged = champion.spec.evaluation
    return judged.champion.digest if judged and judged.champion else None


def _dataset_digest(observed: Observed) -> str | None:
    evaluation = observed.run.spec.evaluation
    dataset = evaluation.dataset if evaluation else None
    return outputs_of(observed.run)[dataset.partition("/")[0]].digest if dataset else None


def _refused(step: StepStatus, why: str) -> StepStatus:
    return _noted(step.model_copy(update={"candidate": None}), why)


def _noted(step: StepStatus, note: str) -> StepStatus:
    return step.model_copy(update={"message": cut(note)})


def _with_checked(status: TrainingRunStatus, step: StepStatus, candidate: CacheCandidate) -> TrainingRunStatus:
    changed = _with_step(status, step)
    if step.state is not StepState.CACHED:
        return changed
    metrics = newest_metrics(status.metrics, step.name, candidate.metrics)
    return changed.model_copy(update={"metrics": metrics})


def _with_step(status: TrainingRunStatus, changed: StepStatus) -> TrainingRunStatus:
    steps = tuple(changed if step.name == changed.name else step for step in status.steps)
    return status.model_copy(update={"steps": steps})
