from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.modelversion import Evaluation, ModelVersion, Verdict
from modelyard.api.v1alpha1.observation import Observation
from modelyard.controller.engine.conditions import Condition, merge_conditions
from modelyard.controller.engine.plan import Plan
from modelyard.controller.kinds.modelversion.decide import decide
from modelyard.controller.kinds.modelversion.observed import Observed
from modelyard.controller.kinds.stepjob import Images

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


def version(number: int = 1, verdict: str | None = "FirstVersion", **more: Any) -> ModelVersion:
    spec: dict[str, Any] = {
        "model": "flight-delay",
        "version": number,
        "artifact": {"uri": f"s3://air/blobs/sha256/{'a' * 64}", "digest": DIGEST},
    }
    if verdict:
        spec["evaluation"] = {"metric": "f1", "rows": 9, "datasetDigest": DIGEST, "verdict": verdict, "message": "m"}
    spec |= {name: more.pop(name) for name in ("retired",) if name in more}
    metadata = {
        "name": f"flight-delay-v{number}",
        "namespace": "air",
        "uid": f"uid-{number}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return ModelVersion.model_validate({"metadata": metadata, "spec": spec, **more})


def seen(state: str, digest: str = DIGEST, message: str = "") -> Observation:
    subject = {"kind": "ModelVersion", "name": "flight-delay-v1", "uid": "uid-1"}
    artifact = {"digest": digest, "state": state, "message": message}
    spec = {"subject": subject, "observedTime": "2026-01-01T00:00:00Z", "artifact": artifact}
    metadata = {"name": "modelversion-flight-delay-v1", "namespace": "air", "uid": "observation-uid"}
    return Observation.model_validate({"metadata": metadata, "spec": spec})


def plan_for(
    asked: ModelVersion, *siblings: ModelVersion, observation: Observation | None = None, seconds: float = 0
) -> Plan:
    now = CREATED + timedelta(seconds=seconds)
    return decide(Observed(asked, (asked, *siblings), observation, now, {}, Images("trainer:1", "IfNotPresent")))


def condition(plan: Plan, type_: str) -> Condition:
    return next(c for c in plan.conditions if c.type == type_)


def outcome(plan: Plan, type_: str) -> tuple[str, str]:
    found = condition(plan, type_)
    return found.status, found.reason


@pytest.mark.parametrize(
    ("state", "status", "reason", "ready"),
    [
        ("Verified", "True", "Verified", ("True", "Available")),
        ("Missing", "False", "ArtifactMissing", ("False", "ArtifactMissing")),
        ("Corrupt", "False", "ArtifactCorrupt", ("False", "ArtifactCorrupt")),
        ("Unreachable", "Unknown", "ArtifactUnreachable", ("Unknown", "ArtifactUnreachable")),
    ],
)
def test_the_artifact_is_as_the_agent_saw_it(state: str, status: str, reason: str, ready: tuple[str, str]) -> None:
    plan = plan_for(version(), observation=seen(state))
    assert outcome(plan, "ArtifactAvailable") == (status, reason)
    assert outcome(plan, "Ready") == ready
    assert ("Stalled" in {c.type for c in plan.conditions}) == (state == "Corrupt")
    assert plan.requeue_after is None


def test_an_artifact_that_nobody_checked_names_the_missing_agent() -> None:
    before, after = plan_for(version(), seconds=59), plan_for(version(), seconds=60)
    assert outcome(before, "ArtifactAvailable") == ("Unknown", "Verifying")
    assert before.requeue_after == 1.0
    assert outcome(after, "ArtifactAvailable") == ("Unknown", "NoAgent")
    assert "chart modelyard-tenant" in condition(after, "Ready").message
    assert after.requeue_after is None


def test_what_was_seen_of_other_bytes_does_not_count() -> None:
    plan = plan_for(version(), observation=seen("Verified", digest="sha256:" + "b" * 64))
    assert outcome(plan, "ArtifactAvailable") == ("Unknown", "Verifying")


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ("FirstVersion", "True"),
        ("BetterThanChampion", "True"),
        ("NotBetter", "False"),
        ("BelowThreshold", "False"),
        ("TooFewRows", "False"),
        ("SliceRegressed", "False"),
        ("ChampionMoved", "Unknown"),
        ("Registered", "False"),
    ],
)
def test_acceptance_comes_from_the_record(verdict: str, status: str) -> None:
    assert outcome(plan_for(version(verdict=verdict)), "Accepted") == (status, verdict)


def test_a_version_that_was_not_evaluated_is_registered_but_no_champion() -> None:
    plan = plan_for(version(verdict=None))
    assert outcome(plan, "Accepted") == ("True", "Registered")
    assert plan.status == {"champion": "No"}


def test_the_highest_accepted_version_is_champion() -> None:
    assert plan_for(version(1), version(2, "NotBetter")).status == {"champion": "Yes"}
    assert plan_for(version(1), version(2, "BetterThanChampion")).status == {"champion": "No"}
    retired = version(2, "BetterThanChampion", retired={"reason": "wrong units"})
    assert plan_for(version(1), retired).status == {"champion": "Yes"}


def test_a_retired_version_is_not_ready_and_says_why() -> None:
    plan = plan_for(version(retired={"reason": "wrong units"}), observation=seen("Verified"))
    assert outcome(plan, "Ready") == ("False", "Retired")
    assert "wrong units" in condition(plan, "Ready").message
    assert outcome(plan, "ArtifactAvailable") == ("True", "Verified")
    assert plan.status == {"champion": "No"}


def test_events_tell_of_changes_only() -> None:
    first = plan_for(version(), observation=seen("Corrupt", message="one byte differs"))
    assert [(e.type, e.reason) for e in first.events] == [
        ("Normal", "BecameChampion"),
        ("Warning", "ArtifactCorrupt"),
    ]
    status = {**(first.status or {}), "conditions": merge_conditions([], first.conditions, 1, CREATED)}
    assert not plan_for(version(status=status), observation=seen("Corrupt", message="one byte differs")).events


def test_a_version_being_deleted_is_left_alone() -> None:
    leaving = version()
    leaving = leaving.model_copy(
        update={"metadata": leaving.metadata.model_copy(update={"deletion_timestamp": "2026-01-01T00:00:00Z"})}
    )
    assert plan_for(leaving) == Plan()


@given(
    st.sampled_from([None, *Verdict]),
    st.sampled_from([None, "Verified", "Missing", "Corrupt", "Unreachable"]),
    st.booleans(),
    st.integers(-5, 500),
)
def test_decide_settles_at_once(verdict: str | None, state: str | None, retired: bool, seconds: int) -> None:
    more: dict[str, Any] = {"retired": {"reason": "r"}} if retired else {}
    observation = seen(state) if state else None
    first = plan_for(version(verdict=verdict, **more), observation=observation, seconds=seconds)
    status = {**(first.status or {}), "conditions": merge_conditions([], first.conditions, 1, CREATED)}
    again = plan_for(version(verdict=verdict, **more, status=status), observation=observation, seconds=seconds)
    assert (again.status, again.conditions, again.events) == (first.status, first.conditions, ())


def test_status_says_who_is_better_and_by_how_much() -> None:
    body = {
        "metric": "rocAuc",
        "goal": "Maximize",
        "value": "0.7134",
        "verdict": "BetterThanChampion",
        "champion": {"version": 6, "digest": DIGEST, "value": "0.7092"},
    }
    judged = version()
    evaluation = Evaluation.model_validate(body)
    judged = judged.model_copy(update={"spec": judged.spec.model_copy(update={"evaluation": evaluation})})
    status = plan_for(judged).status
    assert status is not None
    assert (status["score"], status["comparison"]) == ("rocAuc 0.7134", "0.0042 better than v6")


def test_status_of_a_version_that_was_not_judged_compares_nothing() -> None:
    assert plan_for(version(verdict=None)).status == {"champion": "No"}
