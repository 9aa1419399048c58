"""`make bench`: the demo from nothing, then the bars on the cluster that it leaves. Writes bench/results."""

import sys

from bench.bars import save
from bench.cluster import Operator, converged_writes, idle_memory, restart_with_objects, server_cold_start
from bench.demo import first_prediction
from dev.install import Installation

DEMO_NAMESPACE, DEMO_DEPLOYMENT = "air-development", "flight-delay"
OBJECTS_NAMESPACE = "bench-objects"


def main() -> int:
    """Measure everything; returns 1 when a bar does not hold."""
    bars = [first_prediction()]
    installation = Installation(print)
    operator = Operator(installation)
    bars.append(converged_writes())
    bars.append(idle_memory(operator))
    bars.append(server_cold_start(installation, DEMO_NAMESPACE, DEMO_DEPLOYMENT))
    try:
        bars.extend(restart_with_objects(operator, OBJECTS_NAMESPACE))
    finally:
        installation.kubectl("delete", "namespace", OBJECTS_NAMESPACE, "--ignore-not-found", timeout=300)
    print(f"\nraw figures: {save(bars)}\n")
    for bar in bars:
        print(bar)
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
