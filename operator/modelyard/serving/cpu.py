"""How many threads a model run may use."""

import math
import os
from pathlib import Path


def thread_count(cgroup: Path = Path("/sys/fs/cgroup"), *, available: int | None = None) -> int:
    """Return the whole CPUs of the cgroup's CPU limit, at least 1 and at most those this process may run on.

    Without a limit it is 1: other pods share the node, and requests run beside each other anyway.
    """
    processors = len(os.sched_getaffinity(0)) if available is None else available
    return max(1, min(processors, math.floor(_limit_v2(cgroup) or _limit_v1(cgroup) or 1)))


def _limit_v2(cgroup: Path) -> float | None:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _limit_v1(cgroup: Path) -> float | None:
    try:
        quota = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        period = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None
