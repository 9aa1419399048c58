"""The program of the sidecar `courier`: brings finished segments of the prediction log to the store.

It is the only container of a model server's pod that runs with the store's credentials, and it opens no port.
Kubernetes ends it after the server, so that what the server wrote last is brought too.
"""

import gzip
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from re import fullmatch
from typing import Final, Self

from modelyard.steps.delivery import run
from modelyard.storage.errors import AlreadyExists, InvalidSource, StorageError
from modelyard.storage.objects import STORE_URI, ObjectStore, Store
from modelyard.storage.predictions import Segment, recover, segments

FINISH_SECONDS: Final = 20.0
"""What the last segments get once the pod is ending."""
MAX_SEGMENT_BYTES: Final = 64 * 1024 * 1024
_COMPRESSION: Final = 6
_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where segments come from, and whose they are."""

    folder: Path
    deployment: str
    version: str
    pod: str
    store: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            InvalidSource: A variable is missing or not allowed.
        """

        def name(variable: str) -> str:
            value = environment.get(variable, "")
            if not fullmatch(_NAME, value):
                raise InvalidSource(f"{variable}: must be letters, digits, '.', '_' and '-', got '{value[:100]}'")
            return value

        return cls(
            Path(environment.get("MODELYARD_PREDICTION_LOG_DIR", "/modelyard/predictions")),
            name("MODELYARD_DEPLOYMENT"),
            name("MODELYARD_MODEL_VERSION"),
            name("MODELYARD_POD_UID"),
            environment.get(STORE_URI, ""),
        )


class Courier:
    """Delivers segments, each once as far as the store allows, and deletes what was delivered."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def deliver(self) -> None:
        """Deliver all finished segments, the oldest first.

        Raises:
            StorageError: The store does not take them; what was not delivered is still there.
        """
        for path, segment in segments(self._settings.folder):
            try:
                data = _read(path)
            except (InvalidSource, OSError) as error:
                _LOG.warning("%s stays here: %s", path.name, error)
            else:
                self._deliver(path, segment, data)

    def finish(self) -> None:
        """Deliver what a server that is no more has left, unfinished segments too.

        Raises:
            StorageError: As in `deliver`.
        """
        lost = recover(self._settings.folder, self._settings.version)
        if lost:
            _LOG.warning("%d rows are lost: the server was killed", lost)
        self.deliver()

    def _deliver(self, path: Path, segment: Segment, data: bytes) -> None:
        target = segment.object_path(self._settings.deployment, self._settings.pod)
        try:
            self._store.put_if_absent(target, gzip.compress(data, _COMPRESSION, mtime=0))
        except AlreadyExists:
            _LOG.info("%s: was there already", target)
        path.unlink()
        _LOG.info("%s: delivered %d bytes", target, len(data))


def _read(path: Path) -> bytes:
    """Read a regular file; anything else in the spool is none of ours.

    Raises:
        InvalidSource: It is another thing, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SEGMENT_BYTES:
            raise InvalidSource(f"{path.name}: must be a regular file of at most {MAX_SEGMENT_BYTES} bytes")
        return file.read()


def main() -> int:
    """Run until SIGTERM; exit 1 when something could not be delivered or the environment is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    try:
        settings = Settings.read(os.environ)
        courier = Courier(settings, ObjectStore(settings.store))
    except StorageError as error:
        _LOG.error("%s", error)
        return 1
    return 0 if run(courier, ending, FINISH_SECONDS) else 1


if __name__ == "__main__":
    sys.exit(main())
