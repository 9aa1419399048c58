"""Brings what the user's code says of its progress to the store, while it runs: little, and not too often."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from modelyard.steps import workspace
from modelyard.steps.metric_lines import parse_lines
from modelyard.storage.errors import InvalidSource
from modelyard.storage.objects import STORE_URI, Store
from modelyard.storage.results import MAX_METRICS, progress_key, to_json
from modelyard.storage.trees import open_beneath

SECONDS: Final = 5.0
"""Least time between two writes."""
MAX_READ_BYTES: Final = 1024 * 1024
"""Most that is read at a time; what a program writes faster is passed over, but for its end."""
MAX_LINE_BYTES: Final = 4096
_MAX_REMAINING: Final = 31_536_000


@dataclass(frozen=True, slots=True)
class ProgressSettings:
    """What is said about progress.

    Attributes:
        file: Where user code writes metrics and progress.
        store: URI of the store.
        key: Where the progress goes in it.
    """

    file: Path
    store: str
    key: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            InvalidSource: a variable is missing or not allowed.
        """
        text = partial(workspace.require, environment=environment)
        attempt = text("MODELYARD_ATTEMPT")
        if not (attempt.isascii() and attempt.isdigit()):
            raise InvalidSource(f"MODELYARD_ATTEMPT: must be a number, got '{attempt[:100]}'")
        key = progress_key(text("MODELYARD_RUN_UID"), text("MODELYARD_STEP"), int(attempt))
        return cls(Path(text("MODELYARD_METRICS_FILE")), text(STORE_URI), key)


@dataclass
class Tail:
    """The lines that were appended to a file since it was last read. A file that was cut or replaced is read anew."""

    path: Path
    _inode: int = 0
    _offset: int = 0
    _rest: bytes = b""

    def lines(self) -> list[bytes]:
        """Return the new whole lines.

        Raises:
            OutputRefused: it is a link or a special file.
        """
        with suppress(FileNotFoundError), open_beneath(self.path.parent, self.path.name) as descriptor:
            status = os.fstat(descriptor)
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._inode, self._offset, self._rest = status.st_ino, 0, b""
            if status.st_size - self._offset > MAX_READ_BYTES:
                self._offset, self._rest = status.st_size - MAX_READ_BYTES, b""
            data = os.pread(descriptor, MAX_READ_BYTES, self._offset)
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > MAX_LINE_BYTES:
                self._rest = b""
            return [line for line in lines if len(line) <= MAX_LINE_BYTES]
        return []


@dataclass
class Account:
    """What was said so far. Pure: time comes in, as seconds of any clock."""

    metrics: dict[str, str] = field(default_factory=dict)
    _first: tuple[float, float] | None = None
    _last: tuple[float, float] | None = None

    def add(self, lines: list[bytes], now: float) -> None:
        """Take in new lines; the first MAX_METRICS names are kept, each with its last value."""
        said = parse_lines(lines)
        for share in said.shares:
            self._first = self._first or (now, share)
            self._last = (now, share)
        for name, value in said.metrics.items():
            if name in self.metrics or len(self.metrics) < MAX_METRICS:
                self.metrics[name] = value

    @property
    def percentage(self) -> int | None:
        """How much is done, None when nothing was said."""
        return int(round(self._last[1] * 100, 6)) if self._last else None

    @property
    def remaining(self) -> int | None:
        """Seconds that are left if it goes on as fast as so far; None when that cannot be said."""
        if self._first is None or self._last is None:
            return None
        (since, before), (now, share) = self._first, self._last
        if share <= before or now <= since:
            return None
        return min(round((now - since) * (1 - share) / (share - before)), _MAX_REMAINING)

    def document(self) -> dict[str, Any]:
        """Return what is said, as docs/contracts.md has it, without its time."""
        said = {"percentage": self.percentage, "estimatedRemainingSeconds": self.remaining}
        metrics = [{"name": name, "value": value} for name, value in self.metrics.items()]
        return {**{name: value for name, value in said.items() if value is not None}, "metrics": metrics}


class ProgressCourier:
    """Writes progress when it changed, and not more often than every SECONDS."""

    def __init__(self, settings: ProgressSettings, store: Store) -> None:
        """Read nothing yet.

        Args:
            settings: what is said about progress.
            store: the store of the namespace.
        """
        self._settings = settings
        self._store = store
        self._tail = Tail(settings.file)
        self._account = Account()
        self._written: dict[str, Any] = Account().document()
        self._next = 0.0

    def deliver(self) -> None:
        """Write what is new, if it is time.

        Raises:
            OutputRefused: the file is a link or a special file.
            StorageError: the store does not take it.
        """
        now = time.monotonic()
        self._account.add(self._tail.lines(), now)
        if now >= self._next:
            self._write()

    def finish(self) -> None:
        """Write nothing: what counts at the end is in the result."""

    def _write(self) -> None:
        document = self._account.document()
        if document == self._written:
            return
        said = {**document, "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        self._store.put(self._settings.key, to_json(said))
        self._written = document
        self._next = time.monotonic() + SECONDS
