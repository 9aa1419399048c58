"""What is written so that a Deployment comes to serve what its spec asks for. Pure and total."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from modelyard.api.v1alpha1.deployment import DeploymentStatus
from modelyard.controller.engine.manifests import Manifest, Ref
from modelyard.controller.engine.plan import Plan
from modelyard.controller.kinds.deployment import report
from modelyard.controller.kinds.deployment.children import build_service, build_workload, pod_selector
from modelyard.controller.kinds.deployment.observed import Observed
from modelyard.controller.kinds.deployment.revision import Revision
from modelyard.controller.kinds.deployment.rollout import Rollout, follow, old_revisions
from modelyard.controller.kinds.deployment.runtime import runtime_version_of

DRAIN_DELAY: Final = timedelta(seconds=10)
"""How long an old revision keeps its pods after the traffic was taken from it."""


def decide(observed: Observed) -> Plan:
    """Return the writes of one pass; none of them changes anything once all is as it should be."""
    rollout = follow(observed)
    retirement = _retire(observed, rollout)
    reported = report.conditions(observed, rollout)
    return Plan(
        apply=(*_serving(observed, rollout), *retirement.apply),
        delete=retirement.delete,
        status=_status(observed, rollout),
        conditions=reported,
        events=report.events(observed, rollout, reported),
        requeue_after=_next_pass(observed, (*retirement.due, *_deadline(observed, rollout))),
    )


@dataclass(frozen=True)
class _Retirement:
    """What becomes of the revisions that neither serve nor are rolled out."""

    apply: tuple[Manifest, ...]
    delete: tuple[Ref, ...]
    due: tuple[datetime, ...]
    """When one of them loses its pods."""


def _serving(observed: Observed, rollout: Rollout) -> tuple[Manifest, ...]:
    """Return the Service and the workloads that have pods; the Service first, since its name may be taken."""
    revisions = [revision for revision in (rollout.serving, rollout.candidate) if revision]
    tls = _serves_tls(observed, rollout)
    services = [build_service(observed.deployment, rollout.carrier, tls=tls)] if rollout.carrier else []
    return (*services, *(_workload(observed, revision, observed.size) for revision in revisions))


def _serves_tls(observed: Observed, rollout: Rollout) -> bool:
    """Say whether what the Service selects serves over TLS; the spec decides for a revision that cannot be rebuilt."""
    carrying = rollout.serving if rollout.stable else rollout.candidate
    return bool(carrying.tls_secret if carrying else observed.deployment.spec.endpoint.tls)


def _retire(observed: Observed, rollout: Rollout) -> _Retirement:
    active = {rollout.carrier, rollout.candidate.id if rollout.candidate else None}
    old = old_revisions(rollout.history)
    kept = list(old)[: observed.deployment.spec.rollout.revision_history_limit]
    apply: list[Manifest] = []
    delete: list[Ref] = []
    due: list[datetime] = []
    for workload in observed.workloads.values():
        drained = datetime.fromisoformat(old[workload.id]) + DRAIN_DELAY if workload.id in old else observed.now
        if workload.id in active:
            continue
        if workload.size and observed.now < drained:
            due.append(drained)
        elif workload.id in kept and workload.revision:
            apply.append(_workload(observed, workload.revision, 0))
        else:
            delete.append(workload.ref)
    return _Retirement(tuple(apply), tuple(delete), tuple(due))


def _workload(observed: Observed, revision: Revision, size: int) -> Manifest:
    return build_workload(observed.deployment, revision, replicas=size, pull_policy=observed.pull_policy)


def _deadline(observed: Observed, rollout: Rollout) -> tuple[datetime, ...]:
    begun = report.candidate(observed, rollout)
    return (report.deadline(observed, begun),) if begun else ()


def _next_pass(observed: Observed, due: Iterable[datetime]) -> float | None:
    ahead = [(time - observed.now).total_seconds() for time in due if time > observed.now]
    return min(ahead, default=None)


def _status(observed: Observed, rollout: Rollout) -> dict[str, Any]:
    metadata, known = observed.deployment.metadata, observed.deployment.status
    recorded = known.runtime_version
    if rollout.target and not observed.deployment.spec.endpoint.runtime_version:
        recorded = runtime_version_of(rollout.target.revision.image)
    workload = observed.workloads.get(rollout.stable.revision) if rollout.stable else None
    selector = pod_selector(metadata.name, rollout.stable.revision) if rollout.stable else {}
    scheme = "https" if _serves_tls(observed, rollout) else "http"
    status = DeploymentStatus(
        url=f"{scheme}://{metadata.name}.{metadata.namespace}.svc" if rollout.carrier else known.url,
        wanted=rollout.wanted,
        runtime_version=recorded,
        model=rollout.stable,
        candidate=report.candidate(observed, rollout),
        replicas=workload.replicas if workload else 0,
        ready_replicas=workload.ready if workload else 0,
        selector=",".join(f"{key}={value}" for key, value in selector.items()) or None,
        history=rollout.history,
    )
    return status.model_dump(
        by_alias=True, exclude_none=True, mode="json", exclude={"conditions", "observed_generation"}
    )
