"""Checkpoints of a step: whole snapshots of a folder, numbered in the store, of which the newest are kept.

A program that writes a checkpoint removes the file `COMPLETE`, writes its files, and makes `COMPLETE` anew. A folder in
which something is newer than `COMPLETE`, or that changes while it is uploaded, is no checkpoint, so that a program that
forgets the first of these never has two states mixed.
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from modelyard.storage.blobs import BlobWriter, blob_key, hash_tree
from modelyard.storage.errors import (
    AccessDenied,
    AlreadyExists,
    DigestMismatch,
    InvalidSource,
    ObjectNotFound,
    OutputEmpty,
    OutputMissing,
    OutputRefused,
)
from modelyard.storage.manifests import MAX_MANIFEST_BYTES, parse_manifest
from modelyard.storage.objects import Store, read_all
from modelyard.storage.results import to_json
from modelyard.storage.retry import Patience
from modelyard.storage.sources import fetch_source, list_source
from modelyard.storage.trees import LocalFile, scan_output

MARKER: Final = "COMPLETE"
KEPT: Final = 2
"""Checkpoints that stay: the newest, and one in case that it cannot be read."""
MAX_POINTER_BYTES: Final = 4096
_NUMBERS: Final = 100
"""Numbers that are tried: others are taken only by a pod that should not run any more."""
_POINTER: Final = re.compile(r"([1-9][0-9]{0,8})\.json")
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in the store.

    Attributes:
        number: From 1, in order of upload.
        digest: Digest of its manifest, which is `blobs/sha256/<hex>`.
        time: When the program had written it, aware.
    """

    number: int
    digest: str
    time: datetime


@dataclass(frozen=True)
class Snapshot:
    """What a folder holds at one moment.

    Attributes:
        files: Its files, sorted by path.
        stamps: Of each file when it last changed; equal stamps are equal contents.
    """

    files: tuple[LocalFile, ...]
    stamps: tuple[int, ...]

    @property
    def changed_ns(self) -> int:
        """When the marker was made, in nanoseconds of the epoch: no file is newer."""
        return max(self.stamps)


def checkpoints_uri(store_uri: str, run_uid: str, step: str) -> str:
    """Return where the checkpoints of a step are."""
    return f"{store_uri.rstrip('/')}/runs/{run_uid}/{step}/checkpoints/"


def take_snapshot(folder: Path) -> Snapshot | None:
    """Return what a folder holds, or None when it is no whole checkpoint.

    Raises:
        OutputRefused: it holds links, special files, or too much.
    """
    try:
        files = scan_output(folder)
    except (OutputMissing, OutputEmpty, FileNotFoundError):
        return None
    marked = next((file.changed_ns for file in files if file.path == MARKER), None)
    stamps = tuple(file.changed_ns for file in files)
    return Snapshot(files, stamps) if marked is not None and marked >= max(stamps) else None


class Checkpoints:
    """The checkpoints of one step of one run, over all of its pods. Every method raises StorageError."""

    def __init__(self, store: Store) -> None:
        """Connect to nothing yet.

        Args:
            store: the objects beneath `checkpoints_uri`.
        """
        self._store = store

    def newest_first(self) -> Iterator[Checkpoint]:
        """Yield those that can be read."""
        for number in sorted(self._numbers(), reverse=True):
            checkpoint = self._read(number)
            if checkpoint is not None:
                yield checkpoint

    def is_newest(self, folder: Path, snapshot: Snapshot) -> bool:
        """Say whether a snapshot is what the newest checkpoint holds, such as one that was just brought back."""
        newest = next(self.newest_first(), None)
        try:
            return newest is not None and hash_tree(folder, snapshot.files) == newest.digest
        except (OutputRefused, FileNotFoundError):
            return False

    def save(self, folder: Path, snapshot: Snapshot) -> Checkpoint | None:
        """Upload a snapshot, and drop the oldest; None when the folder changed meanwhile.

        Raises:
            OutputRefused: it holds links, special files, or too much.
        """
        try:
            tree = self._writer.upload_tree(folder, snapshot.files)
        except (OutputRefused, FileNotFoundError):
            if take_snapshot(folder) == snapshot:
                raise
            return None
        if take_snapshot(folder) != snapshot:
            return None
        newest = next(self.newest_first(), None)
        if newest is not None and newest.digest == tree.digest:
            return newest
        time = datetime.fromtimestamp(snapshot.changed_ns / 1e9, UTC)
        saved = self._point(Checkpoint(newest.number + 1 if newest else 1, tree.digest, time))
        self._drop_oldest()
        return saved

    def restore(self, folder: Path, patience: Patience) -> Checkpoint | None:
        """Bring back the newest one that is whole, in place of the folder; None when there is none.

        Args:
            folder: replaced; its parent must exist.
            patience: how outages are sat out.
        """
        for checkpoint in patience.call(lambda: list(self.newest_first())):
            look = partial(list_source, self._store.url(_manifest_key(checkpoint)), lambda _: self._store)
            try:
                fetch_source(patience.call(look), checkpoint.digest, folder, patience)
            except (ObjectNotFound, DigestMismatch, InvalidSource) as error:
                _LOG.warning("checkpoint %d cannot be used: %s", checkpoint.number, error)
            else:
                return checkpoint
        return None

    @cached_property
    def _writer(self) -> BlobWriter:
        return BlobWriter(self._store, Patience(0, _LOG.info))

    def _numbers(self) -> set[int]:
        paths = (info.path for info in self._store.list())
        return {int(match[1]) for path in paths if (match := _POINTER.fullmatch(path))}

    def _read(self, number: int) -> Checkpoint | None:
        try:
            document = json.loads(read_all(self._store, _pointer(number), MAX_POINTER_BYTES))
            return _checkpoint(number, document)
        except ObjectNotFound:
            return None
        except (ValueError, InvalidSource):
            _LOG.warning("%s: is no checkpoint", self._store.url(_pointer(number)))
            return None

    def _point(self, checkpoint: Checkpoint) -> Checkpoint:
        """Make the object that names a checkpoint: the last write, so that what it names is whole."""
        data = to_json({"digest": checkpoint.digest, "time": checkpoint.time.isoformat()})
        for number in range(checkpoint.number, checkpoint.number + _NUMBERS):
            try:
                self._store.put_if_absent(_pointer(number), data)
            except AlreadyExists:
                continue
            return Checkpoint(number, checkpoint.digest, checkpoint.time)
        raise InvalidSource(f"{self._store.url(_pointer(checkpoint.number))}: somebody else takes every number")

    def _drop_oldest(self) -> None:
        """Delete what is older than those that are kept; only bytes that these do not share."""
        found = list(self.newest_first())
        try:
            needed = {sha256 for kept in found[:KEPT] for sha256 in self._blobs(kept)}
            for old in found[KEPT:]:
                self._store.delete(_pointer(old.number))
                self._delete_blobs(self._blobs(old) - needed)
        except (AccessDenied, ObjectNotFound, InvalidSource) as error:
            _LOG.warning("old checkpoints stay: %s", error)

    def _blobs(self, checkpoint: Checkpoint) -> set[str]:
        """Return what a checkpoint consists of: its manifest, and its files."""
        key = _manifest_key(checkpoint)
        manifest = parse_manifest(read_all(self._store, key, MAX_MANIFEST_BYTES))
        return {checkpoint.digest.removeprefix("sha256:"), *(file.sha256 for file in manifest.files)}

    def _delete_blobs(self, unneeded: set[str]) -> None:
        keys = {blob_key(sha256) for sha256 in unneeded}
        for path in [info.path for info in self._store.list()]:
            if path.partition(".")[0] in keys:
                self._store.delete(path)


def _pointer(number: int) -> str:
    return f"{number}.json"


def _manifest_key(checkpoint: Checkpoint) -> str:
    return blob_key(checkpoint.digest.removeprefix("sha256:"))


def _checkpoint(number: int, document: Any) -> Checkpoint:
    match document:
        case {"digest": str(digest), "time": str(time)} if _DIGEST.fullmatch(digest):
            return Checkpoint(number, digest, datetime.fromisoformat(time))
        case _:
            raise ValueError("must have a digest and a time")
