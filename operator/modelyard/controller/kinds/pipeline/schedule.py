"""When a schedule is due: cron in a time zone. Pure.

Times follow Debian's cron over the two changes of a year: what the clocks skip in spring runs right after the gap, and
what they repeat in autumn runs once; entries with `*` in minute or hour simply go on in real time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import sha256
from itertools import takewhile
from typing import Final

from cronsim import CronSim, CronSimError

_FIELDS: Final = 5


class InvalidScheduleError(ValueError):
    """The expression says no times; the message says why."""


@dataclass(frozen=True)
class Schedule:
    """A cron expression of five fields in a time zone.

    Raises:
        InvalidScheduleError: the expression cannot be read, or has no time within 50 years.
    """

    cron: str
    time_zone: str
    """Name of the zone."""
    zone: tzinfo
    """The zone itself."""

    def __post_init__(self) -> None:
        if fault := _fault(self.cron):
            raise InvalidScheduleError(f"`{self.cron}`: {fault}")

    @property
    def identity(self) -> str:
        """A short digest; another expression or zone has another one."""
        return sha256(f"{self.cron}\n{self.time_zone}".encode()).hexdigest()[:8]

    def following(self, moment: datetime) -> datetime | None:
        """Return the first time after a moment, in UTC; None without one within 50 years."""
        return next((slot for slot in self._slots(moment) if slot > moment), None)

    def newest(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last time that is later than `after` and not later than `until`, in UTC; None without one."""
        # In a repeated hour the last time on the wall clock is not the last one in reality: from there it goes forward.
        before = next(self._slots(until.replace(microsecond=0) + timedelta(seconds=1), reverse=True), None)
        start = max(after, before - timedelta(seconds=1)) if before else after
        due = takewhile(lambda slot: slot <= until, self._slots(start))
        return max((slot for slot in due if slot > after), default=None)

    def _slots(self, moment: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        return (slot.astimezone(UTC) for slot in CronSim(self.cron, moment.astimezone(self.zone), reverse=reverse))


@lru_cache(maxsize=4096)
def _fault(cron: str) -> str | None:
    """Return what is wrong with an expression."""
    if len(cron.split()) != _FIELDS:
        return f"must have {_FIELDS} fields"
    try:
        slots = CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError) as error:
        return str(error) or "cannot be read"
    return None if next(slots, None) else "has no time within 50 years"
