"""Which number the next version gets. Pure."""

import re
from collections.abc import Iterable
from typing import Final

_ENTRY: Final = re.compile(r"([1-9][0-9]{0,6}):(.*)")


def next_version(counter: str | None, existing: Iterable[int], run_uid: str) -> int:
    """Return the number to reserve for a run; numbers only grow, and a number that a crash left reserved is used.

    Args:
        counter: the model's entry of the counter, `<n>:<run uid>`; None or unreadable counts as no number yet.
        existing: the numbers of the versions that exist.
        run_uid: uid of the run.
    """
    entry = _ENTRY.fullmatch(counter or "")
    last, owner = (int(entry[1]), entry[2]) if entry else (0, "")
    highest = max(existing, default=0)
    if owner == run_uid and last > highest:
        return last
    return max(last, highest) + 1


def counter_entry(number: int, run_uid: str) -> str:
    """Return the counter's entry for a reserved number."""
    return f"{number}:{run_uid}"
