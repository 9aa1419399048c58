"""How long a newcomer waits: from no cluster to the first prediction, with binaries and images cached."""

import subprocess
import sys
import time

from bench.bars import Bar
from dev.cluster.paths import REPOSITORY

PREDICTION = "likely to be"
DEADLINE_SECONDS = 900


def first_prediction() -> Bar:
    """Take the cluster down, run the demo, and time its first prediction.

    Raises:
        RuntimeError: The demo ended without one.
    """
    subprocess.run([sys.executable, "-m", "dev.cluster", "down"], cwd=REPOSITORY, check=True, timeout=120)
    seconds = 0.0
    command = [sys.executable, "-u", "-m", "dev.demo"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as demo:
        began = time.monotonic()
        for line in demo.stdout or ():
            print(line, end="", flush=True)
            if PREDICTION in line and not seconds:
                seconds = time.monotonic() - began
        if demo.wait(DEADLINE_SECONDS) or not seconds:
            raise RuntimeError(f"the demo exited {demo.returncode} without a prediction")
    return Bar("make demo from no cluster to the first prediction, binaries and images cached", "s", 180, (seconds,))
