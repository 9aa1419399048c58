"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable

_POLL_SECONDS = 0.02


def wait_until(
    condition: Callable[[], bool], *, seconds: float, what: str, poll_seconds: float = _POLL_SECONDS
) -> None:
    """Poll until the condition holds; fail the test when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(poll_seconds)
