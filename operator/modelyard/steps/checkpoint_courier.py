"""Brings checkpoints to the store while the user's code runs.

When the pod is taken away, Kubernetes tells the courier and the user's code at the same time; the code may then write a
last checkpoint, which is waited for.
"""

import fcntl
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from modelyard.steps import workspace
from modelyard.storage.checkpoints import Checkpoints, Snapshot, checkpoints_uri, take_snapshot
from modelyard.storage.errors import InvalidSource, OutputRefused
from modelyard.storage.objects import STORE_URI, Store
from modelyard.storage.resumes import Work, note

NOTE_SECONDS: Final = 30.0
"""How often it is noted that the work goes on: what a killed node has lost is known to about this precision."""
_POLL_SECONDS: Final = 0.1
_MAX_SECONDS: Final = 86_400.0
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """What is said about checkpoints. Times are in seconds.

    Attributes:
        folder: What user code writes checkpoints to.
        interval: Time between two uploads.
        grace: How long a last checkpoint is waited for.
        ended: Made by our own container once the user's code has ended well.
        pod: Uid of the pod.
        store: Where the checkpoints of the step are.
    """

    folder: Path
    interval: float
    grace: float
    ended: Path
    pod: str
    store: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            InvalidSource: a variable is missing or not allowed.
        """
        text = partial(workspace.require, environment=environment)

        def seconds(name: str) -> float:
            try:
                value = float(text(name))
            except ValueError:
                value = -1.0
            if not 0 <= value <= _MAX_SECONDS:
                raise InvalidSource(f"{name}: must be a number of seconds up to {_MAX_SECONDS:.0f}")
            return value

        return cls(
            folder=Path(text("MODELYARD_CHECKPOINT_DIR")),
            interval=seconds("MODELYARD_CHECKPOINT_INTERVAL_SECONDS"),
            grace=seconds("MODELYARD_CHECKPOINT_GRACE_SECONDS"),
            ended=Path(text("MODELYARD_ENDED_FILE")),
            pod=text("MODELYARD_POD_UID"),
            store=checkpoints_uri(text(STORE_URI), text("MODELYARD_RUN_UID"), text("MODELYARD_STEP")),
        )


class CheckpointCourier:
    """Uploads whole checkpoints, and notes until when the pod has worked."""

    def __init__(self, settings: CheckpointSettings, store: Store) -> None:
        """Start the clocks.

        Args:
            settings: what is said about checkpoints.
            store: the objects beneath `settings.store`.
        """
        self._settings = settings
        self._store = store
        self._checkpoints = Checkpoints(store)
        self._started = time.time()
        self._uploaded: Snapshot | None = None
        self._next_upload = self._next_note = 0.0
        self._told_at: float | None = None

    def told_to_end(self) -> float:
        """Take note of the signal, and return its time: from then on the user's code writes its last checkpoint."""
        if self._told_at is None:
            self._told_at = time.time()
        return self._told_at

    def deliver(self) -> None:
        """Upload a new checkpoint if it is time for one.

        Raises:
            StorageError: the store does not take it.
        """
        now = time.monotonic()
        if now >= self._next_note:
            note(self._store, Work(self._settings.pod, self._started, time.time()))
            self._next_note = now + NOTE_SECONDS
        if now >= self._next_upload and self._upload():
            self._next_upload = now + self._settings.interval

    def finish(self) -> None:
        """Wait for a last checkpoint, upload it, and note when the pod has ended.

        Raises:
            StorageError: the store does not take it.
        """
        if self._settings.ended.exists():
            return
        told_at = self.told_to_end()
        while not self._ending_is_over(told_at):
            self._upload()
            time.sleep(_POLL_SECONDS)
        self._upload()
        note(self._store, Work(self._settings.pod, self._started, told_at))

    def _ending_is_over(self, told_at: float) -> bool:
        """Say whether no other checkpoint is to be expected."""
        saved = self._uploaded is not None and self._uploaded.changed_ns >= told_at * 1e9
        late = time.time() >= told_at + self._settings.grace
        return saved or late or program_is_gone(self._settings.folder)

    def _upload(self) -> bool:
        """Upload what the folder holds if it is a checkpoint that was not uploaded before."""
        try:
            snapshot = take_snapshot(self._settings.folder)
            if snapshot is None or snapshot == self._uploaded:
                return False
            if self._uploaded is None and self._checkpoints.is_newest(self._settings.folder, snapshot):
                self._uploaded = snapshot
                return False
            saved = self._checkpoints.save(self._settings.folder, snapshot)
        except OutputRefused as error:
            _LOG.warning("this is no checkpoint: %s", error)
            return False
        if saved is None:
            return False
        self._uploaded = snapshot
        _LOG.info("checkpoint %d is in the store: %s", saved.number, saved.digest)
        return True


def program_is_gone(folder: Path) -> bool:
    """Say whether a program that held the lock `<folder>.lock` is no more; one that takes no lock is not known."""
    try:
        descriptor = os.open(folder.with_name(folder.name + ".lock"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
