from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.controller.kinds.pipeline.schedule import InvalidScheduleError, Schedule

BERLIN = "Europe/Berlin"
ZONES = (BERLIN, "America/New_York", "Asia/Kolkata", "America/St_Johns", "Etc/UTC")


def schedule(cron: str, zone: str = BERLIN) -> Schedule:
    return Schedule(cron, zone, ZoneInfo(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(plan: Schedule, moment: datetime) -> datetime:
    found = plan.following(moment)
    assert found is not None
    return found


def slots(plan: Schedule, start: datetime, count: int) -> list[str]:
    found = []
    for _ in range(count):
        start = following(plan, start)
        found.append(start.strftime("%Y-%m-%d %H:%M"))
    return found


def test_times_are_those_of_the_zone() -> None:
    assert slots(schedule("0 3 * * *"), utc("2026-01-01"), 2) == ["2026-01-01 02:00", "2026-01-02 02:00"]
    assert slots(schedule("0 3 * * *"), utc("2026-07-01"), 1) == ["2026-07-01 01:00"]
    assert slots(schedule("30 9 * * MON", "Asia/Kolkata"), utc("2026-01-01"), 1) == ["2026-01-05 04:00"]


def test_time_that_clocks_skip_in_spring_comes_right_after_the_gap_once() -> None:
    """On 2026-03-29 it is 03:00 in Berlin one second after 01:59:59."""
    found = slots(schedule("30 2 * * *"), utc("2026-03-28"), 3)
    assert found == ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]


def test_time_that_clocks_repeat_in_autumn_comes_once() -> None:
    """On 2026-10-25 it is 02:30 in Berlin at 00:30 and at 01:30 UTC."""
    found = slots(schedule("30 2 * * *"), utc("2026-10-24"), 3)
    assert found == ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"]


def test_every_half_hour_goes_on_in_real_time_over_both_changes() -> None:
    for start in ("2026-03-29 00:00", "2026-10-25 00:00"):
        moments = [utc(slot) for slot in slots(schedule("*/30 * * * *"), utc(start), 8)]
        assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(minutes=30)}


@pytest.mark.parametrize("minute", ["00:00", "00:29", "00:30", "00:31", "01:00", "01:29", "01:30", "01:31", "02:30"])
def test_next_time_lies_ahead_even_in_a_repeated_hour(minute: str) -> None:
    now = utc(f"2026-10-25 {minute}")
    for cron in ("30 2 * * *", "0,15,30,45 2 * * *", "5 */2 * * *", "* * * * *"):
        assert following(schedule(cron), now) > now


@pytest.mark.parametrize(
    ("after", "until", "newest"),
    [
        ("2026-01-01 00:00", "2026-01-01 01:59", None),
        ("2026-01-01 00:00", "2026-01-01 02:00", "2026-01-01 02:00"),
        ("2026-01-01 02:00", "2026-01-01 23:00", None),
        ("2026-01-01 02:00", "2026-01-09 12:00", "2026-01-09 02:00"),
        ("2026-01-05 00:00", "2026-01-01 00:00", None),
    ],
    ids=["not yet", "just now", "handled", "the last of many", "clock set back"],
)
def test_newest_time_that_has_come(after: str, until: str, newest: str | None) -> None:
    found = schedule("0 3 * * *").newest(utc(after), utc(until))
    assert found == (utc(newest) if newest else None)


@pytest.mark.parametrize("until", ["00:30", "00:50", "01:10", "01:29", "01:30", "01:50"])
def test_repeated_hour_has_one_newest_time(until: str) -> None:
    found = schedule("30 2 * * *").newest(utc("2026-10-24 12:00"), utc(f"2026-10-25 {until}"))
    assert found == utc("2026-10-25 00:30")


def test_time_that_was_handled_is_not_the_newest_again_in_the_repeated_hour() -> None:
    assert schedule("30 2 * * *").newest(utc("2026-10-25 01:15"), utc("2026-10-25 01:50")) is None


CRONS = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0,20,40 1-3 * * *",
        "15 */6 * * *",
        "0 0 1 * *",
        "0 12 * * MON-FRI",
        "0 3 L * *",
    ]
)
MOMENTS = st.one_of(
    st.integers(0, 730 * 24 * 60).map(lambda minutes: utc("2026-01-01") + timedelta(minutes=minutes)),
    st.integers(0, 48 * 60).map(lambda minutes: utc("2026-03-28") + timedelta(minutes=minutes)),
    st.integers(0, 9 * 24 * 60).map(lambda minutes: utc("2026-10-24") + timedelta(minutes=minutes)),
)


@given(cron=CRONS, zone=st.sampled_from(ZONES), after=MOMENTS, hours=st.floats(0, 30))
@settings(max_examples=60)
def test_newest_time_is_the_last_that_following_gives(cron: str, zone: str, after: datetime, hours: float) -> None:
    plan, until, expected = schedule(cron, zone), after + timedelta(hours=hours), None
    upcoming = following(plan, after)
    while upcoming <= until:
        expected, upcoming = upcoming, following(plan, upcoming)
    assert plan.newest(after, until) == expected


@pytest.mark.parametrize(
    "cron", ["61 * * * *", "* * * * 9", "5-1 * * * *", "*/0 * * * *", "0 0 31 2 *", "L L L L L", "x y z 1 2"]
)
def test_nonsense_is_refused(cron: str) -> None:
    with pytest.raises(InvalidScheduleError):
        schedule(cron)


def test_schedule_without_any_time_is_refused() -> None:
    with pytest.raises(InvalidScheduleError, match="no time within 50 years"):
        schedule("0 0 */20 * 1L")


@given(st.text("0123456789*/,-#LWMON ", max_size=24))
def test_any_text_is_a_schedule_or_refused(text: str) -> None:
    try:
        schedule(text).following(utc("2026-01-01"))
    except InvalidScheduleError:
        return
