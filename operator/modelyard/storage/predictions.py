"""Segments of the prediction log: their names in the spool of a pod and in the store, and what a killed writer left.

A segment answers for a range of numbers that its writer gave to the rows it was to log, one after the other: a number
without a record was dropped or lost, so names and lines alone say how much is missing.
"""

import os
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

FINISHED: Final = ".jsonl"
UNFINISHED: Final = ".part"
COUNTER: Final = ".count"
NUMBER: Final = struct.Struct("<Q")
COUNTERS: Final = struct.Struct("<QQ")
"""The file `<boot>.count`: numbers that were given, and those that finished segments answer for."""
SPOOL_BYTES: Final = 128 * 1024 * 1024
"""Segments that wait for the courier; what comes then is dropped, since only the courier deletes."""

_TIME: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"(\d{8}T\d{6}Z)-v([1-9]\d{0,8})-([0-9a-f]{16})-(\d{1,18})-(\d{1,18})\.jsonl")
_PART: Final = re.compile(r"(\d{8}T\d{6}Z)-v([1-9]\d{0,8})-([0-9a-f]{16})\.part")
_BOOT: Final = re.compile(r"[0-9a-f]{16}")
_READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of records.

    Attributes:
        time: When its first record was made, in whole seconds.
        boot: Sixteen hexadecimal digits that name one life of one writer.
        begin: First number that it answers for.
        end: First number after those.
    """

    time: datetime
    version: str
    boot: str
    begin: int
    end: int

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return the segment with this file name, None when it is no segment's."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        time, version, boot, begin, end = match.groups()
        return cls(_parse_time(time), version, boot, int(begin), int(end))

    @property
    def file_name(self) -> str:
        """Name in the spool."""
        return f"{self.time.strftime(_TIME)}-v{self.version}-{self.boot}-{self.begin}-{self.end}{FINISHED}"

    def object_path(self, deployment: str, pod: str) -> str:
        """Return the path in the store: by time first, since labels that come late are joined over all versions."""
        name = f"v{self.version}-{pod}-{self.boot}-{self.begin}-{self.end}.jsonl.gz"
        return f"predictions/{deployment}/{self.time:%Y-%m-%d}/{self.time:%H}/{name}"


def part_name(time: datetime, version: str, boot: str) -> str:
    """Return the name of the file that a segment is written to until it is finished."""
    return f"{time.strftime(_TIME)}-v{version}-{boot}{UNFINISHED}"


def segments(folder: Path) -> list[tuple[Path, Segment]]:
    """Return the finished segments of a spool, the oldest first."""
    found = ((path, Segment.parse(path.name)) for path in folder.iterdir())
    return sorted(((path, segment) for path, segment in found if segment), key=lambda pair: (pair[1].time, pair[0]))


def spool_bytes(folder: Path) -> int:
    """Return the size of all files of a spool."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.lstat().st_size
        except FileNotFoundError:  # the courier has just delivered it
            continue
    return total


def recover(folder: Path, version: str) -> int:
    """Finish what writers that are no more left behind, and return the number of rows that are lost.

    No writer may be alive. A segment without lines is made where nothing else would tell what is lost.
    """
    lost = 0
    parts = {match[3]: path for path in folder.iterdir() if (match := _PART.fullmatch(path.name))}
    counters = {path.stem: path for path in folder.glob(f"*{COUNTER}") if _BOOT.fullmatch(path.stem)}
    for boot in sorted(parts.keys() | counters.keys()):
        lost += _recover(folder, boot, parts.get(boot), counters.get(boot), version)
    return lost


def _recover(folder: Path, boot: str, part: Path | None, counter: Path | None, version: str) -> int:
    data = counter.read_bytes() if counter else b""
    given, finished = COUNTERS.unpack(data) if len(data) == COUNTERS.size else (0, 0)
    # Its writer may have ended between finishing a segment and saying so.
    finished = max([finished, *(segment.end for _, segment in segments(folder) if segment.boot == boot)])
    time = datetime.now(UTC)
    lines = 0
    if part is not None and (match := _PART.fullmatch(part.name)):
        time, version = _parse_time(match[1]), match[2]
        lines = _cut_to_lines(part)
    given = max(given, finished + lines)
    if given > finished:
        target = folder / Segment(time, version, boot, finished, given).file_name
        if part is None:
            target.touch()
        else:
            part.replace(target)
    elif part is not None:
        part.unlink()
    if counter:
        counter.unlink()
    return int(given - finished - lines)


def _cut_to_lines(part: Path) -> int:
    """Cut off what follows the last whole line, and return the number of lines."""
    lines = position = size = 0
    with part.open("r+b") as file:
        while block := file.read(_READ_BYTES):
            newline = block.rfind(b"\n")
            if newline >= 0:
                lines += block.count(b"\n")
                size = position + newline + 1
            position += len(block)
        file.truncate(size)
        os.fsync(file.fileno())
    return lines


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
