"""Which version of a Delta Lake or Iceberg table lies under a prefix, by its metadata alone. Pure.

What cannot be told for sure is left out: versions and row counts inform people, the digest of all objects decides.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

ReadMetadata = Callable[[str], bytes | None]
"""Returns the bytes of an object by its path; None when it has more than MAX_METADATA_BYTES."""

MAX_METADATA_BYTES: Final = 32 * 1024 * 1024
MAX_COMMITS: Final = 1000
"""Commits of a Delta Lake table that are read for its rows; compacted logs are Parquet, which is not read here."""

_DELTA_COMMIT: Final = re.compile(r"_delta_log/(\d{20})\.json")
_DELTA_FILE: Final = re.compile(r"_delta_log/(\d{20})\.(json|checkpoint(\..+)?\.parquet)")
_ICEBERG_FILE: Final = re.compile(r"metadata/v?(\d{1,18})(-[^/]*)?\.metadata\.json")
_ICEBERG_HINT: Final = "metadata/version-hint.text"
_ICEBERG_DELETES: Final = ("total-position-deletes", "total-equality-deletes")


@dataclass(frozen=True)
class Table:
    """State of a table."""

    version: str
    """Version of a Delta Lake table, snapshot id of an Iceberg table."""
    rows: int | None = None


def read_table(paths: Collection[str], read: ReadMetadata) -> Table | None:
    """Return the state of the table that these objects are; None when they are none that can be understood.

    Args:
        paths: of all objects, relative to the prefix.
        read: called for few of them; its errors are passed on.
    """
    if any(_DELTA_FILE.fullmatch(path) for path in paths):
        return _delta(paths, read)
    if any(_ICEBERG_FILE.fullmatch(path) for path in paths):
        return _iceberg(paths, read)
    return None


def _delta(paths: Collection[str], read: ReadMetadata) -> Table:
    version = max(int(match[1]) for path in paths if (match := _DELTA_FILE.fullmatch(path)))
    commits = sorted(path for path in paths if _DELTA_COMMIT.fullmatch(path))
    is_whole = len(commits) == version + 1 <= MAX_COMMITS
    return Table(str(version), _delta_rows(commits, read) if is_whole else None)


def _delta_rows(commits: Collection[str], read: ReadMetadata) -> int | None:
    """Return the rows of all files that the log has added and not removed; None when one does not say how many."""
    rows: dict[tuple[str, str], int | None] = {}
    for commit in commits:
        added: dict[tuple[str, str], int | None] = {}
        actions = [_parsed(line) for line in (read(commit) or b"").splitlines()]
        if not actions or not all(isinstance(action, dict) for action in actions):
            return None
        for action in actions:
            if file := _mapping(action.get("add")):
                added[_file_key(file)] = _file_rows(file)
            elif file := _mapping(action.get("remove")):
                rows.pop(_file_key(file), None)
        rows |= added
    counts = [count for count in rows.values() if count is not None]
    return sum(counts) if len(counts) == len(rows) else None


def _file_key(file: Mapping[str, Any]) -> tuple[str, str]:
    """A file with another deletion vector is another file."""
    vector = _mapping(file.get("deletionVector"))
    return str(file.get("path")), "".join(str(vector.get(part)) for part in ("storageType", "pathOrInlineDv", "offset"))


def _file_rows(file: Mapping[str, Any]) -> int | None:
    stats, vector = _mapping(_parsed(file.get("stats"))), _mapping(file.get("deletionVector"))
    deleted = _count(vector.get("cardinality")) if vector else 0
    rows = _count(stats.get("numRecords"))
    return None if rows is None or deleted is None else rows - deleted


def _iceberg(paths: Collection[str], read: ReadMetadata) -> Table | None:
    path = _iceberg_metadata(paths, read)
    metadata = _mapping(_parsed(read(path))) if path else {}
    current = metadata.get("current-snapshot-id")
    snapshots = metadata.get("snapshots")
    if not isinstance(current, int) or not isinstance(snapshots, list):
        return None
    summaries = (_mapping(s).get("summary") for s in snapshots if _mapping(s).get("snapshot-id") == current)
    summary = _mapping(next(summaries, None))
    is_exact = all(_count(summary.get(name, 0)) == 0 for name in _ICEBERG_DELETES)
    return Table(str(current), _count(summary.get("total-records")) if is_exact else None)


def _iceberg_metadata(paths: Collection[str], read: ReadMetadata) -> str | None:
    """Return the newest metadata file: the one that the hint names, or that with the highest number if it is alone."""
    if _ICEBERG_HINT in paths:
        hint = (read(_ICEBERG_HINT) or b"").decode("ascii", "replace").strip()
        hinted = f"metadata/v{hint}.metadata.json"
        return hinted if hinted in paths else None
    numbered = [(int(match[1]), path) for path in paths if (match := _ICEBERG_FILE.fullmatch(path))]
    newest = max(numbered)[0]
    found = [path for number, path in numbered if number == newest]
    return found[0] if len(found) == 1 else None


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    """Return a number of rows, which Iceberg writes as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None
