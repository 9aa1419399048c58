"""The metrics file of a running step, as far as it is written."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_METRICS: Final = 16
_CHUNK_BYTES: Final = 256 * 1024


class MetricsTail:
    """Reads what was added to a metrics file: for display only, `publish` reads the result."""

    def __init__(self, file: Path) -> None:
        """Begin before the file is there."""
        self._file = file
        self._offset = 0
        self._rest = b""
        self.metrics: dict[str, str] = {}
        self.percentage: float | None = None

    def read(self) -> None:
        """Take in what is new, at most one chunk."""
        with suppress(OSError):
            if self._file.is_symlink() or not self._file.is_file():
                return
            with self._file.open("rb") as lines:
                lines.seek(self._offset)
                chunk = lines.read(_CHUNK_BYTES)
            self._offset += len(chunk)
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-_CHUNK_BYTES:]
            for line in whole:
                self._take(line)

    def _take(self, line: bytes) -> None:
        for name, value in _read(line):
            if name is None:
                self.percentage = value
            elif name in self.metrics or len(self.metrics) < MAX_METRICS:
                self.metrics[name] = f"{value:.6g}"


def _read(line: bytes) -> Iterator[tuple[str | None, float]]:
    """Yield the name and value of a metric, or None and the percentage that is done."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return
    match entry:
        case {"name": str(name), "value": int() | float() as value}:
            yield name, float(value)
        case {"progress": int() | float() as share} if 0 <= share <= 1:
            yield None, 100.0 * share
