from typing import Any

import pytest

from tests.unit.kinds.trainingrun.builders import (
    condition,
    decided,
    observation,
    observe,
    recorded,
    run_manifest,
    sha,
)

FOUND = {"name": "flights", "digest": sha("a"), "bytes": 7, "version": "v9"}


def started(**changes: Any) -> dict[str, Any]:
    """A run after its first pass."""
    return run_manifest(recorded(decided(observe(run_manifest(**changes)))), **changes)


def test_inputs_are_asked_for_first() -> None:
    plan = decided(observe(run_manifest()))
    assert (condition(plan, "InputsResolved").status, condition(plan, "InputsResolved").reason) == (
        "Unknown",
        "Resolving",
    )
    assert condition(plan, "Ready").reason == "Resolving"
    assert condition(plan, "Reconciling").status == "True"
    assert not plan.create


def test_inputs_that_nobody_looks_at_name_the_missing_agent() -> None:
    before, after = decided(observe(started(), seconds=29)), decided(observe(started(), seconds=30))
    assert condition(before, "InputsResolved").reason == "Resolving"
    assert before.requeue_after == 1.0
    assert (condition(after, "Ready").status, condition(after, "Ready").reason) == ("Unknown", "NoAgent")
    assert "chart modelyard-tenant" in condition(after, "Ready").message
    assert after.requeue_after is None


@pytest.mark.parametrize("reason", ["InputNotFound", "AccessDenied", "SecretMissing", "StoreUnreachable"])
def test_an_input_that_cannot_be_read_blocks_the_run_until_it_can(reason: str) -> None:
    failed = {"name": "flights", "error": {"reason": reason, "message": "as the store says"}}
    plan = decided(observe(started(), observation=observation(failed)))
    for type_ in ("Ready", "InputsResolved"):
        assert (condition(plan, type_).status, condition(plan, type_).reason) == ("False", reason)
    assert "input 'flights' (s3://air/flights/): as the store says" in condition(plan, "Ready").message
    assert "Stalled" not in {c.type for c in plan.conditions}
    cured = decided(observe(run_manifest(recorded(plan)), observation=observation(FOUND)))
    assert condition(cured, "InputsResolved").status == "True"


def test_a_pinned_digest_that_differs_is_a_mismatch() -> None:
    inputs = [{"name": "flights", "uri": "s3://air/flights/", "digest": sha("b")}]
    plan = decided(observe(started(inputs=inputs), observation=observation(FOUND)))
    ready = condition(plan, "Ready")
    assert (ready.status, ready.reason) == ("False", "DigestMismatch")
    assert sha("a") in ready.message
    assert sha("b") in ready.message
    cured = decided(observe(started(inputs=inputs), observation=observation({**FOUND, "digest": sha("b")})))
    assert condition(cured, "InputsResolved").status == "True"


def test_an_input_that_the_agent_is_still_reading_is_waited_for() -> None:
    plan = decided(observe(started(), seconds=300, observation=observation()))
    assert condition(plan, "Ready").reason == "Resolving"


def test_resolved_inputs_are_recorded_before_anything_starts() -> None:
    plan = decided(observe(started(), observation=observation(FOUND)))
    assert plan.status is not None
    assert plan.status["inputs"] == [{**FOUND, "uri": "s3://air/flights/"}]
    assert not plan.create
    assert plan.requeue_after == 0.0


def test_resolved_inputs_are_frozen() -> None:
    first = decided(observe(started(), observation=observation(FOUND)))
    moved = observation({**FOUND, "digest": sha("c")})
    second = decided(observe(run_manifest(recorded(first)), observation=moved))
    assert second.status is not None
    assert second.status["inputs"][0]["digest"] == sha("a")
    sources = next(e["value"] for e in second.create[0]["spec"]["template"]["spec"]["initContainers"][0]["env"])
    assert sha("a") in sources


def test_a_run_without_inputs_starts_at_once() -> None:
    steps = [{"name": "train", "image": "example.com/train:1", "outputs": ["model"]}]
    changes: dict[str, Any] = {"inputs": None, "steps": steps, "evaluation": None}
    plan = decided(observe(started(**changes)))
    assert condition(plan, "InputsResolved").status == "True"
    assert len(plan.create) == 1
