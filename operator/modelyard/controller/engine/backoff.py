from collections.abc import Callable


def backoff(failures: int, *, first: float, last: float, rng: Callable[[], float]) -> float:
    """Seconds to wait after `failures` failures in a row (from 1): doubled each time, then up to a half more.

    Args:
        failures: how many there were.
        first: the wait after the first one.
        last: the longest wait before jitter.
        rng: a source of numbers in [0, 1), so that those who failed together do not come back together.
    """
    exponent = min(failures - 1, 32)
    return min(first * 2.0**exponent, last) * (1 + rng() / 2)
