"""How often a step went on from a checkpoint, and what work was lost: counted in the store, over all of its pods.

A pod that is deleted leaves nothing in the cluster to count by. So each courier notes until when its pod has worked,
and the fetch of the next pod draws the balance.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from modelyard.storage.errors import InvalidSource, ObjectNotFound
from modelyard.storage.objects import Store, read_all
from modelyard.storage.results import to_json

WORK: Final = "work.json"
BALANCE: Final = "balance.json"
_MAX_BYTES: Final = 4096

T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What one pod has worked.

    Attributes:
        pod: Uid of the pod.
        start: When the work started, in seconds of the epoch.
        end: Until when it is known to have gone on.
    """

    pod: str
    start: float
    end: float


@dataclass(frozen=True)
class Balance:
    """What is counted.

    Attributes:
        resumes: How often a pod went on from a checkpoint.
        lost_seconds: Seconds of work that was done again.
        pod: Uid of the last pod that is counted.
        start: When its work started.
    """

    resumes: int = 0
    lost_seconds: int = 0
    pod: str = ""
    start: float = 0.0


def draw(before: Balance, work: Work | None, checkpoint: datetime | None) -> Balance:
    """Return the balance after a pod has ended. Pure; drawing it again changes nothing.

    Args:
        before: the last balance.
        work: what the last pod has worked; None when there was none.
        checkpoint: when the state was written that the next pod goes on from; None when it starts anew.
    """
    if work is None or (work.pod, work.start) == (before.pod, before.start):
        return before
    saved = max(work.start, checkpoint.timestamp()) if checkpoint else work.start
    # The program may be told to end some milliseconds before the courier: what it then saved is older than the end.
    lost = max(0, round(work.end - saved))
    resumes = before.resumes + (checkpoint is not None)
    return Balance(resumes, before.lost_seconds + lost, work.pod, work.start)


def note(store: Store, work: Work) -> None:
    """Record what a pod has worked.

    Raises:
        StorageError: the store does not take it.
    """
    store.put(WORK, to_json({"pod": work.pod, "start": work.start, "end": work.end}))


def settle(store: Store, checkpoint: datetime | None) -> Balance:
    """Draw the balance and record it; `store` and `checkpoint` as in `note` and `draw`.

    Raises:
        StorageError: the store cannot be read or written.
    """
    before = _read(store, BALANCE, _balance) or Balance()
    after = draw(before, _read(store, WORK, _work), checkpoint)
    if after != before:
        store.put(BALANCE, to_json(_document(after)))
    return after


def _document(balance: Balance) -> dict[str, Any]:
    return {
        "resumes": balance.resumes,
        "lostSeconds": balance.lost_seconds,
        "pod": balance.pod,
        "start": balance.start,
    }


def _read(store: Store, path: str, parse: Callable[[Any], T]) -> T | None:
    """Return what an object says; one that cannot be read costs a number in a report, never a run."""
    try:
        return parse(json.loads(read_all(store, path, _MAX_BYTES)))
    except (ObjectNotFound, InvalidSource, ValueError):
        return None


def _work(document: Any) -> Work:
    match document:
        case {"pod": str(pod), "start": int() | float() as start, "end": int() | float() as end}:
            return Work(pod, start, end)
        case _:
            raise ValueError("must have pod, start and end")


def _balance(document: Any) -> Balance:
    match document:
        case {
            "resumes": int(resumes),
            "lostSeconds": int(lost_seconds),
            "pod": str(pod),
            "start": int() | float() as start,
        }:
            return Balance(resumes, lost_seconds, pod, start)
        case _:
            raise ValueError("must have resumes, lostSeconds, pod and start")
