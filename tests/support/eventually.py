"""Waiting for a condition inside an event loop, with a deadline."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, seconds: float = 10.0, what: str = "the condition") -> None:
    """Lets other tasks run until the condition holds; fails the test when it does not within the time."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the conditions of tests set no events
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s for {what}") from None
