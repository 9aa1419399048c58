"""A sample of what was asked and answered, for later: to files in a folder that a courier empties.

The event loop's thread only notes predictions. Another thread writes them, in small steps, so that it never keeps the
event loop waiting for long.
"""

import contextlib
import errno
import logging
import mmap
import os
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TypeAlias

from modelyard.model import Signature
from modelyard.serving.errors import StartError
from modelyard.serving.prediction_records import ROWS_AT_ONCE, Prediction, RecordEncoder
from modelyard.serving.settings import Settings
from modelyard.serving.tensors import Array, Column
from modelyard.storage.predictions import (
    COUNTER,
    COUNTERS,
    NUMBER,
    SPOOL_BYTES,
    Segment,
    part_name,
    recover,
    spool_bytes,
)

WINDOW_SECONDS: Final = 10.0
"""The most that a segment covers, and so about the most that is lost with a node."""
SEGMENT_BYTES: Final = 4 * 1024 * 1024
HELD_BYTES: Final = 16 * 1024 * 1024
"""Predictions that wait to be written; what comes then is dropped."""
PREDICTION_BYTES: Final = 16 * 1024 * 1024
"""The most that one request may add."""
CLOSE_SECONDS: Final = 2.0

_LOOK_SECONDS: Final = 0.25
_PAUSE_SECONDS: Final = 0.0005
_PENDING_BYTES: Final = 256 * 1024
"""Written at once: every write lets another thread run, which costs more than what is written."""

_Held: TypeAlias = tuple[str, int, Mapping[str, Column], Mapping[str, Array], int, int, int]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Part:
    """The segment that is being written."""

    path: Path
    descriptor: int
    begun: datetime
    due: float
    size: int = 0
    rows: int = 0
    pending: list[bytes] = field(default_factory=list)
    pending_bytes: int = 0
    pending_rows: int = 0


class PredictionLog:
    """Logs a share of the requests. `sampled` and `add` are called on one thread.

    Args:
        folder: The spool; nobody else writes there.
        share: Of the requests, up to 1.
        columns: Inputs that are logged, none = all.
        identity: Members of every record, `version` among them.
        window: Seconds that a segment covers at most.
        seed: Of the sample.

    Raises:
        OSError: The folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        share: float,
        columns: tuple[str, ...],
        identity: Mapping[str, str],
        *,
        window: float = WINDOW_SECONDS,
        spool_limit: int = SPOOL_BYTES,
        seed: int | None = None,
    ) -> None:
        self._folder, self._columns, self._share = folder, columns, share
        self._version = identity["version"]
        self._window, self._spool_limit = window, spool_limit
        self._random = random.Random(seed).random  # noqa: S311 - a sample, not cryptography
        self._encoder = RecordEncoder(identity)
        self._boot = secrets.token_hex(8)
        folder.mkdir(parents=True, exist_ok=True)
        self._lost = recover(folder, self._version)
        self._counter_file = folder / f"{self._boot}{COUNTER}"
        self._counter_file.write_bytes(bytes(COUNTERS.size))
        with self._counter_file.open("r+b") as file:
            self._counter = mmap.mmap(file.fileno(), COUNTERS.size)
        self._held: deque[_Held] = deque()  # bare tuples: adding one is what requests wait for
        # Each of these numbers is written by one thread alone.
        self._given = self._refused = self._held_in = 0
        self._finished = self._written = self._failed = self._held_out = 0
        self._end = 0
        self._busy_rows = 0
        self._part: _Part | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_until_closed, name="prediction-log", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, settings: Settings) -> Self | None:
        """Return the log of the settings, None when there is to be none.

        Raises:
            StartError: Its folder cannot be used.
        """
        wanted = settings.prediction_log
        if wanted is None:
            return None
        try:
            log = cls(wanted.folder, wanted.percent / 100, wanted.columns, settings.identity)
        except OSError as error:
            raise StartError("InvalidSettings", f"MODELYARD_PREDICTION_LOG_DIR: cannot be used: {error}") from None
        if log.records["lost"]:
            _log.warning("predictions of a killed server were lost", extra={"rows": log.records["lost"]})
        return log

    def check(self, signature: Signature) -> None:
        """Check that the chosen columns are inputs of the model.

        Raises:
            StartError: One is not.
        """
        names = [tensor.name for tensor in signature.inputs]
        for column in self._columns:
            if column not in names:
                raise StartError(
                    "InvalidSettings",
                    f"MODELYARD_PREDICTION_LOG_COLUMNS: must be of the model's inputs, '{column}' is none",
                )

    @property
    def records(self) -> Mapping[str, int]:
        """Rows that were `written`, `dropped` because something was full or failed, and `lost` by killed servers."""
        return {"written": self._written, "dropped": self._refused + self._failed, "lost": self._lost}

    def spool_bytes(self) -> int:
        """Return the size of what waits for the courier."""
        return spool_bytes(self._folder)

    def sampled(self) -> bool:
        """Draw whether a request is to be logged."""
        return self._random() < self._share

    def add(
        self, prediction_id: str, inputs: Mapping[str, Column], outputs: Mapping[str, Array], rows: int, size: int
    ) -> None:
        """Note the rows of one request; they are written soon, or dropped when too many wait.

        Args:
            prediction_id: What labels will name.
            inputs: Arrays in their shape, or flat lists.
            outputs: By name.
            rows: How many.
            size: Bytes that the inputs may keep alive.
        """
        self._given += rows
        NUMBER.pack_into(self._counter, 0, self._given)
        if self._held_in - self._held_out + size > HELD_BYTES:
            self._refused += rows
            return
        self._held_in += size
        self._held.append((prediction_id, time.time_ns(), inputs, outputs, rows, self._given, size))

    def close(self) -> None:
        """Write what is held and end; waits for at most CLOSE_SECONDS."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _write_until_closed(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(_LOOK_SECONDS)
            self._write_held()
            part = self._part
            if closing and self._finished < self._given:
                self._finish(self._given)
            elif part and time.monotonic() >= part.due:
                self._finish(self._end)
        if self._finished == self._given:
            self._counter_file.unlink(missing_ok=True)

    def _write_held(self) -> None:
        while self._held:
            identifier, nanoseconds, inputs, outputs, rows, end, size = self._held.popleft()
            chosen = {name: inputs[name] for name in self._columns} if self._columns else inputs
            self._add_lines(Prediction(identifier, nanoseconds, chosen, outputs, rows))
            self._held_out += size
            self._end = end
            if self._part and self._part.size + self._part.pending_bytes >= SEGMENT_BYTES:
                self._finish(self._end)
        if self._part:
            self._flush(self._part)

    def _add_lines(self, prediction: Prediction) -> None:
        """Append the lines of a prediction to the segment, all or none."""
        lines: list[bytes] = []
        size = 0
        try:
            for some, rows in self._encoder.encode(prediction):
                lines.append(some)
                size += len(some)
                _check_size(size)
                if self._due_for_pause(rows):
                    time.sleep(_PAUSE_SECONDS)
            part = self._part = self._part or self._begin(prediction.time)
        except (OSError, ValueError) as error:
            _log.error("a prediction cannot be logged", extra={"problem": str(error)})
            self._failed += prediction.rows
            return
        part.pending += lines
        part.pending_rows += prediction.rows
        part.pending_bytes += size
        if part.pending_bytes >= _PENDING_BYTES:
            self._flush(part)

    def _flush(self, part: _Part) -> None:
        """Write what is pending, all or nothing."""
        data, rows = b"".join(part.pending), part.pending_rows
        part.pending, part.pending_bytes, part.pending_rows = [], 0, 0
        try:
            _write_all(part.descriptor, data)
        except OSError as error:
            _log.error("predictions cannot be logged", extra={"problem": str(error), "rows": rows})
            self._failed += rows
            with contextlib.suppress(OSError):
                os.ftruncate(part.descriptor, part.size)
            return
        part.size += len(data)
        part.rows += rows
        self._written += rows

    def _due_for_pause(self, rows: int) -> bool:
        """Whether so much was done that the event loop's thread should have its turn."""
        self._busy_rows += rows
        due = self._busy_rows >= ROWS_AT_ONCE
        if due:
            self._busy_rows = 0
        return due

    def _begin(self, nanoseconds: int) -> _Part:
        begun = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
        if spool_bytes(self._folder) >= self._spool_limit:
            raise OSError(errno.ENOSPC, "the spool is full")
        path = self._folder / part_name(begun, self._version, self._boot)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o640)
        return _Part(path, descriptor, begun, time.monotonic() + self._window)

    def _finish(self, end: int) -> None:
        """Close the segment, which answers for the numbers up to `end`, and leave it to the courier."""
        part, self._part = self._part, None
        try:
            part = part or self._begin(time.time_ns())
            self._flush(part)
            os.fsync(part.descriptor)
            name = Segment(part.begun, self._version, self._boot, self._finished, end).file_name
            part.path.replace(self._folder / name)
            os.close(part.descriptor)
        except OSError as error:
            _log.error("a segment of the prediction log is lost", extra={"problem": str(error)})
            if part:
                self._give_up(part)
            return
        self._finished = end
        NUMBER.pack_into(self._counter, NUMBER.size, end)

    def _give_up(self, part: _Part) -> None:
        """Remove a segment that cannot be finished; the next one answers for its numbers, which are missing there."""
        self._written -= part.rows
        self._failed += part.rows
        with contextlib.suppress(OSError):
            os.close(part.descriptor)
        with contextlib.suppress(OSError):
            part.path.unlink()


def _check_size(size: int) -> None:
    if size > PREDICTION_BYTES:
        raise ValueError(f"the lines of one request must be at most {PREDICTION_BYTES} bytes")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
