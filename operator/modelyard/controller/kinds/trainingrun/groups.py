"""Steps of several nodes: who is who in the group, and the Service by which they find each other. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelyard.api.v1alpha1.names import (
    LABEL_ATTEMPT,
    LABEL_OWNER_UID,
    LABEL_STEP,
    group_job_name,
    group_service_name,
    job_name,
)
from modelyard.api.v1alpha1.trainingrun import DONE, Step, StepState
from modelyard.controller.engine.manifests import Manifest, Ref, adopt, name_of, namespace_of, ref_of
from modelyard.controller.kinds.attempts import Attempt, AttemptState
from modelyard.controller.kinds.stepjob import Group
from modelyard.controller.kinds.trainingrun.observed import Observed

MASTER_PORT: Final = "29500"
_RANK: Final = {
    "name": "RANK",
    "valueFrom": {
        "fieldRef": {
            "apiVersion": "v1",
            "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']",
        }
    },
}
_SELECTED: Final = (LABEL_OWNER_UID, LABEL_STEP, LABEL_ATTEMPT)


def name_of_job(run: str, step: Step, attempt: int) -> str:
    """Return the name of a step's Job."""
    name = group_job_name if step.num_nodes > 1 else job_name
    return name(run, step.name, attempt)


def group_of(run: str, step: Step, attempt: int) -> Group | None:
    """Return the group of a step's Job, None when its pod is alone."""
    if step.num_nodes == 1:
        return None
    return Group(step.num_nodes, group_service_name(name_of_job(run, step, attempt)))


def variables(run: str, step: Step, attempt: int) -> list[dict[str, Any]]:
    """Return what the user's code is told, by the names that distributed training libraries read."""
    group = group_of(run, step, attempt)
    if group is None:
        return []
    job = name_of_job(run, step, attempt)
    told = {
        "MASTER_ADDR": f"{job}-0.{group.service}",
        "MASTER_PORT": MASTER_PORT,
        "WORLD_SIZE": str(group.nodes),
        "LOCAL_RANK": "0",
        "MODELYARD_NODES": ",".join(f"{job}-{rank}.{group.service}" for rank in range(group.nodes)),
    }
    return [*({"name": name, "value": value} for name, value in told.items()), dict(_RANK)]


def build_service(owner: Manifest, job: Manifest) -> Manifest:
    """Return the headless Service of a group's Job, which names pods that are not ready: they wait for each other."""
    labels: Mapping[str, str] = job["metadata"]["labels"]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": group_service_name(name_of(job)),
            "namespace": namespace_of(job),
            "labels": dict(labels),
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {name: labels[name] for name in _SELECTED},
        },
    }
    return adopt(service, owner)


def missing_services(observed: Observed) -> tuple[Manifest, ...]:
    """Return the Services that groups at work lack, such as one that somebody has deleted."""
    there = {name_of(service) for service in observed.services}
    wanted = (build_service(observed.manifest, attempt.manifest) for attempt in _groups(observed))
    return tuple(service for service in wanted if name_of(service) not in there)


def idle_services(observed: Observed) -> tuple[Ref, ...]:
    """Return the Services of groups that have ended."""
    needed = {group_service_name(attempt.job) for attempt in _groups(observed)}
    idle = (service for service in observed.services if name_of(service) not in needed)
    return tuple(ref_of(service) for service in idle if _has_ended(observed, service))


def _groups(observed: Observed) -> Iterator[Attempt]:
    for attempts in observed.attempts.values():
        yield from (a for a in attempts if a.is_group and a.state is AttemptState.ACTIVE)


def _has_ended(observed: Observed, service: Manifest) -> bool:
    """Say whether the attempt has ended; that of a Service without a Job may be about to start."""
    labels = service["metadata"]["labels"]
    step, number = labels[LABEL_STEP], int(labels[LABEL_ATTEMPT])
    known = observed.recorded(step)
    if known.attempt > number or known.state in DONE:
        return True
    return known.attempt == number and known.state is StepState.FAILED
