"""A bar: something measured, the most it may be, and whether it holds."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from typing_extensions import override

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Bar:
    """One measured figure."""

    name: str
    unit: str
    limit: float
    values: tuple[float, ...]

    @property
    def holds(self) -> bool:
        """Say whether the median is within the limit."""
        return median(self.values) <= self.limit

    @override
    def __str__(self) -> str:
        low, middle, high = min(self.values), median(self.values), max(self.values)
        spread = f" (from {low:.3g} to {high:.3g}, n={len(self.values)})" if len(self.values) > 1 else ""
        verdict = "holds" if self.holds else "FAILS"
        return f"{verdict}  {self.name}: {middle:.3g} {self.unit}{spread}, at most {self.limit:g}"


def machine() -> dict[str, str | int]:
    """Describe the machine that measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(models),
        "memoryKiB": int(memory),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def save(bars: Sequence[Bar], what: str = "bars") -> Path:
    """Write the raw figures of a benchmark and the machine; return the file."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y-%m-%d}-{what}.json"
    data = {"time": now.isoformat(timespec="seconds"), "machine": machine(), "bars": [asdict(bar) for bar in bars]}
    file.write_text(json.dumps(data, indent=2) + "\n")
    return file
