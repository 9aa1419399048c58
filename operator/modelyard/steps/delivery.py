"""How a sidecar works: it delivers again and again until its pod ends, and then what is left."""

import logging
import random
import threading
import time
from typing import Final, Protocol

from modelyard.storage.errors import StorageError
from modelyard.storage.retry import delays

_LOOK_SECONDS: Final = 1.0
_LONGEST_DELAY_SECONDS: Final = 30.0
_LONGEST_LAST_DELAY_SECONDS: Final = 2.0
_LOG: Final = logging.getLogger(__name__)


class Deliverer(Protocol):
    """What a sidecar does. Both raise StorageError or OSError when it cannot be done now; they are called again."""

    def deliver(self) -> None:
        """Deliver what is there."""

    def finish(self) -> None:
        """Deliver what is left; nothing new will come once it returns."""


def run(deliverer: Deliverer, ending: threading.Event, finish_seconds: float) -> bool:
    """Deliver until the pod ends, then what is left; returns whether everything was delivered.

    Args:
        deliverer: does the work.
        ending: set when the pod ends.
        finish_seconds: what the rest gets from then on.
    """
    waits = delays(longest=_LONGEST_DELAY_SECONDS)
    wait = _LOOK_SECONDS
    while not ending.wait(wait):
        try:
            deliverer.deliver()
        except (StorageError, OSError) as error:
            wait = next(waits)
            _LOG.warning("%s; trying again in %.0f s", error, wait)
        else:
            waits = delays(longest=_LONGEST_DELAY_SECONDS)
            wait = _LOOK_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not cryptography
    deadline = time.monotonic() + finish_seconds
    for delay in delays(longest=_LONGEST_LAST_DELAY_SECONDS):
        try:
            deliverer.finish()
        except (StorageError, OSError) as error:
            _LOG.warning("%s", error)
            if time.monotonic() + delay >= deadline:
                return False
            time.sleep(delay)
        else:
            return True
    raise AssertionError("delays() never ends")
