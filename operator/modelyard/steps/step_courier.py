"""The program of the sidecar `courier` of a step: brings checkpoints and progress to the store while user code runs.

User code has neither the store nor a token: it writes files. What the environment does not name is not asked for.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final

from modelyard.steps import workspace
from modelyard.steps.checkpoint_courier import CheckpointCourier, CheckpointSettings
from modelyard.steps.delivery import run
from modelyard.steps.progress_courier import ProgressCourier, ProgressSettings
from modelyard.storage.errors import StorageError
from modelyard.storage.objects import ObjectStore

_LOG: Final = logging.getLogger(__name__)


def main() -> int:
    """Run until SIGTERM; exit 1 when the environment is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    ending = threading.Event()
    told: list[Callable[[], object]] = [ending.set]
    signal.signal(signal.SIGTERM, lambda *_: [tell() for tell in reversed(told)])
    try:
        work = _work(os.environ, ending, told)
    except StorageError as error:
        _LOG.error("%s", error)
        return 1
    threads = [threading.Thread(target=part, daemon=True) for part in work]
    for thread in threads:
        thread.start()
    ending.wait()
    for thread in threads:
        thread.join()
    return 0


def _work(
    environment: Mapping[str, str], ending: threading.Event, told: list[Callable[[], object]]
) -> list[Callable[[], object]]:
    """Return what is to be done at once; only the first pod of a group has anything to bring.

    Args:
        environment: names what is asked for.
        ending: set when the pod ends.
        told: what is called when the pod ends, the last first; more is added.

    Raises:
        StorageError: the environment or the store's URI cannot be used.
    """
    parts: list[Callable[[], object]] = []
    if workspace.rank() > 0:
        return parts
    if "MODELYARD_METRICS_FILE" in environment:
        progress = ProgressSettings.read(environment)
        reporter = ProgressCourier(progress, ObjectStore(progress.store))
        parts.append(lambda: run(reporter, ending, 0))
    if "MODELYARD_CHECKPOINT_DIR" in environment:
        kept = CheckpointSettings.read(environment)
        courier = CheckpointCourier(kept, ObjectStore(kept.store))
        told.append(courier.told_to_end)
        parts.append(lambda: _keep(courier, ending, 2 * kept.grace))
    return parts


def _keep(courier: CheckpointCourier, ending: threading.Event, seconds: float) -> None:
    if not run(courier, ending, seconds):
        _LOG.error("the last checkpoint is not in the store")


if __name__ == "__main__":
    sys.exit(main())
