from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelyard.controller.engine.conditions import Condition, is_true, merge_conditions

NOON = datetime(2026, 5, 1, 12, 0, 0, 999_999, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)

statuses = st.sampled_from(["True", "False", "Unknown"])
conditions = st.builds(
    Condition,
    type=st.sampled_from(["Ready", "Succeeded", "Admitted", "Stalled", "Reconciling"]),
    status=statuses,
    reason=st.sampled_from(["Busy", "Done"]),
    message=st.text(max_size=3),
)
lists = st.lists(conditions, unique_by=lambda condition: condition.type)


def test_merge_sets_what_is_new() -> None:
    assert merge_conditions([], [Condition("Ready", "False", "Busy", "wait")], 3, NOON) == [
        {
            "type": "Ready",
            "status": "False",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-05-01T12:00:00Z",
            "reason": "Busy",
            "message": "wait",
        }
    ]


def test_merge_keeps_the_transition_time_until_the_status_flips() -> None:
    first = merge_conditions([], [Condition("Ready", "False", "Busy")], 1, NOON)
    same = merge_conditions(first, [Condition("Ready", "False", "Broken", "why")], 2, LATER)
    flipped = merge_conditions(same, [Condition("Ready", "True", "Done")], 2, LATER)

    assert [same[0][key] for key in ("lastTransitionTime", "reason", "observedGeneration")] == [
        "2026-05-01T12:00:00Z",
        "Broken",
        2,
    ]
    assert flipped[0]["lastTransitionTime"] == "2026-05-01T13:00:00Z"


def test_merge_writes_times_in_utc() -> None:
    eastern = NOON.astimezone(timezone(timedelta(hours=-5)))
    merged = merge_conditions([], [Condition("Ready", "True", "Done")], 1, eastern)
    assert merged[0]["lastTransitionTime"] == "2026-05-01T12:00:00Z"


def test_merge_cuts_long_messages() -> None:
    message = merge_conditions([], [Condition("Ready", "True", "Done", "x" * 1025)], 1, NOON)[0]["message"]
    assert len(message) == 1024
    assert message.endswith("x…")


@given(lists, lists)
def test_merge_yields_the_desired_conditions_in_order(before: list[Condition], desired: list[Condition]) -> None:
    current = merge_conditions([], before, 1, NOON)
    merged = merge_conditions(current, desired, 2, LATER)

    shown = [item for item in desired if item.type not in {"Stalled", "Reconciling"} or item.status == "True"]
    assert [item["type"] for item in merged] == [
        item.type for item in sorted(shown, key=lambda item: item.type != "Ready")
    ]
    assert merge_conditions(merged, desired, 2, LATER + timedelta(days=1)) == merged


def test_is_true_is_false_for_what_is_absent_or_unknown() -> None:
    current: list[dict[str, Any]] = [{"type": "Ready", "status": "Unknown"}, {"type": "Done", "status": "True"}]
    assert [is_true(current, type_) for type_ in ("Ready", "Done", "Absent")] == [False, True, False]
