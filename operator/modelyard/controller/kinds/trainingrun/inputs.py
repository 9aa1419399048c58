"""What a run's inputs are, by what the agent saw of them. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

from modelyard.api.v1alpha1.observation import ObservedInput
from modelyard.api.v1alpha1.trainingrun import Input, Reason, ResolvedInput
from modelyard.controller.kinds.trainingrun.observed import Observed

AGENT_PATIENCE: Final = 30.0
"""Seconds after which a namespace in which nobody looks at the inputs is said to have no agent."""


@dataclass(frozen=True)
class Unresolved:
    """Why the inputs are not known yet."""

    status: Literal["False", "Unknown"]
    reason: str
    message: str
    requeue_after: float | None = None


def resolve_inputs(observed: Observed) -> tuple[ResolvedInput, ...] | Unresolved:
    """Return what all inputs are, or why that is not known. What a run once recorded is never resolved again."""
    run = observed.run
    if len(run.status.inputs) == len(run.spec.inputs):
        return run.status.inputs
    if observed.observation is None:
        return _unobserved(observed)
    seen = {item.name: item for item in observed.observation.spec.inputs}
    faults = [fault for item in run.spec.inputs if (fault := _fault(item, seen.get(item.name)))]
    if faults:
        message = "; ".join(fault.message for fault in faults)
        worst = next((fault for fault in faults if fault.status == "False"), faults[0])
        return Unresolved(worst.status, worst.reason, message)
    return tuple(_resolved(item, seen[item.name]) for item in run.spec.inputs)


def _unobserved(observed: Observed) -> Unresolved:
    started = observed.run.status.start_time
    waited = observed.seconds_since(started) if started else 0.0
    if waited < AGENT_PATIENCE:
        message = "the agent of this namespace is asked what the inputs are"
        return Unresolved("Unknown", Reason.RESOLVING, message, AGENT_PATIENCE - waited)
    namespace = observed.run.metadata.namespace
    return Unresolved(
        "Unknown",
        Reason.NO_AGENT,
        f"no agent has looked at the inputs: check that the chart modelyard-tenant is installed in namespace "
        f"'{namespace}' and that its agent runs (kubectl get pods -n {namespace})",
    )


def _fault(wanted: Input, seen: ObservedInput | None) -> Unresolved | None:
    if seen is None or (seen.digest is None and seen.error is None):
        return Unresolved("Unknown", Reason.RESOLVING, f"input '{wanted.name}': the agent is reading {wanted.uri}")
    if seen.error:
        return Unresolved("False", seen.error.reason, f"input '{wanted.name}' ({wanted.uri}): {seen.error.message}")
    if wanted.digest and seen.digest != wanted.digest:
        return Unresolved(
            "False",
            Reason.DIGEST_MISMATCH,
            f"input '{wanted.name}' ({wanted.uri}) hashes to {seen.digest}, but `digest` pins {wanted.digest}: "
            "restore the data, or make a run with the new digest",
        )
    return None


def _resolved(wanted: Input, seen: ObservedInput) -> ResolvedInput:
    return ResolvedInput(
        name=wanted.name,
        uri=wanted.uri,
        digest=seen.digest or "",
        version=seen.version,
        bytes=seen.bytes,
        rows=seen.rows,
    )
