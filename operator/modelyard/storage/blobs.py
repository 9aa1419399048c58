"""Content-addressed blobs: written once, under the hash of their bytes, and verified whenever they are read."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from modelyard.storage.errors import AlreadyExists, ArtifactCorrupt, ObjectNotFound, OutputRefused, StoreUnreachable
from modelyard.storage.manifests import FileEntry, Manifest
from modelyard.storage.objects import CHUNK_BYTES, Store
from modelyard.storage.retry import Patience
from modelyard.storage.trees import LocalFile, open_beneath

PIECE_BYTES: Final = 16 * 1024 * 1024
"""A create-only write holds its object in memory, so larger files are kept in pieces of this size."""
WORKERS: Final = 8

PROBE_KEY: Final = "blobs/create-only-probe"
_LOG: Final = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class PublishedTree:
    """A tree in the store."""

    uri: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class _Piece:
    path: str
    key: str
    offset: int
    size: int
    sha256: str


def blob_key(sha256: str) -> str:
    """Return the path of a blob in its store."""
    return f"blobs/sha256/{sha256}"


def piece_name(blob: str, index: int) -> str:
    """Return the path of one piece of a blob."""
    return f"{blob}.{index:05d}"


def conditional_create_supported(store: Store) -> bool:
    """Ask the server itself whether it honours create-only writes; some ignore the condition and overwrite."""
    for _ in range(2):
        try:
            store.put_if_absent(PROBE_KEY, b"modelyard")
        except AlreadyExists:
            return True
    _LOG.warning(
        "%s: the server ignores create-only writes (If-None-Match); objects are looked up before they are written",
        store.url(""),
    )
    return False


class BlobWriter:
    """Writes content-addressed objects: once, and never over different bytes."""

    def __init__(self, store: Store, patience: Patience, *, piece_bytes: int = PIECE_BYTES) -> None:
        """Probe the server for create-only writes.

        Args:
            store: where to write.
            patience: how outages are sat out.
            piece_bytes: files larger than this are kept in pieces.
        """
        self._store = store
        self._patience = patience
        self._piece_bytes = piece_bytes
        self.create_only = patience.call(lambda: conditional_create_supported(store))

    def upload_tree(self, folder: Path, files: Iterable[LocalFile]) -> PublishedTree:
        """Upload files and then their manifest. Memory is bounded by WORKERS pieces.

        Raises:
            OutputRefused: a file is not what the scan saw, or changes while it is read.
            ArtifactCorrupt: the store holds different bytes under one of the names.
            StorageError: the store refuses or stays away.
        """
        entries: list[FileEntry] = []
        for _ in map_concurrently(
            lambda piece: self._upload_piece(folder, piece), self._pieces(folder, files, entries)
        ):
            pass
        manifest = Manifest.of(entries)
        key = blob_key(manifest.digest.removeprefix("sha256:"))
        self.put(key, manifest.to_json())
        return PublishedTree(self._store.url(key), manifest.digest, manifest.total_bytes)

    def put(self, key: str, data: bytes) -> None:
        """Write an object whose key stands for these bytes; done when it is there already."""
        self._patience.call(lambda: self._put(key, data))

    def _put(self, key: str, data: bytes) -> None:
        if not self.create_only and self._verified(key, data):
            return
        try:
            self._store.put_if_absent(key, data)
        except AlreadyExists:
            if not self._verified(key, data):
                raise StoreUnreachable(f"{self._store.url(key)}: was deleted while it was written") from None

    def _verified(self, key: str, data: bytes) -> bool:
        """Whether the object is there and holds these bytes."""
        found = hashlib.sha256()
        try:
            for chunk in self._store.get(key):
                found.update(chunk)
        except ObjectNotFound:
            return False
        if found.digest() != hashlib.sha256(data).digest():
            raise ArtifactCorrupt(
                f"{self._store.url(key)}: the store holds other bytes than the name says; "
                "find out who wrote them, delete the object and publish again"
            )
        return True

    def _pieces(self, folder: Path, files: Iterable[LocalFile], entries: list[FileEntry]) -> Iterator[_Piece]:
        for file in files:
            with open_beneath(folder, file.path) as descriptor:
                sha256, pieces = _hash_pieces(descriptor, self._piece_bytes)
            blob, offset = blob_key(sha256), 0
            for index, (piece_sha256, size) in enumerate(pieces):
                key = piece_name(blob, index) if len(pieces) > 1 else blob
                yield _Piece(file.path, key, offset, size, piece_sha256)
                offset += size
            entries.append(FileEntry(file.path, sha256, offset))

    def _upload_piece(self, folder: Path, piece: _Piece) -> None:
        with open_beneath(folder, piece.path) as descriptor:
            data = os.pread(descriptor, piece.size, piece.offset)
        if hashlib.sha256(data).hexdigest() != piece.sha256:
            raise OutputRefused(f"'{piece.path}': changed while it was published")
        self.put(piece.key, data)


def hash_tree(folder: Path, files: Iterable[LocalFile]) -> str:
    """Return the digest that a tree would be published under, without a store.

    Raises:
        OutputRefused: a file is not what the scan saw.
        FileNotFoundError: a file is gone.
    """
    return Manifest.of(_hash_file(folder, file) for file in files).digest


def _hash_file(folder: Path, file: LocalFile) -> FileEntry:
    with open_beneath(folder, file.path) as descriptor:
        sha256, pieces = _hash_pieces(descriptor, PIECE_BYTES)
    return FileEntry(file.path, sha256, sum(size for _, size in pieces))


def read_blob(store: Store, sha256: str, size: int) -> Iterator[bytes]:
    """Yield the bytes of a blob, whole or in pieces; they are not verified here.

    Raises:
        ObjectNotFound: the blob or one of its pieces is missing.
    """
    blob, got = blob_key(sha256), 0
    try:
        yield from store.get(blob)
    except ObjectNotFound:
        if size == 0:
            raise
    else:
        return
    index = 0
    while got < size:
        for chunk in store.get(piece_name(blob, index)):
            got += len(chunk)
            yield chunk
        index += 1


def blob_size(store: Store, sha256: str, size: int) -> int:
    """Return how many bytes the store has of a blob that should have `size`, whole or in pieces.

    Raises:
        ObjectNotFound: the blob or one of its pieces is missing.
    """
    blob = blob_key(sha256)
    try:
        return store.head(blob).size
    except ObjectNotFound:
        if size == 0:
            raise
    got, index = 0, 0
    while got < size:
        got += store.head(piece_name(blob, index)).size
        index += 1
    return got


def map_concurrently(function: Callable[[T], R], items: Iterable[T], workers: int = WORKERS) -> Iterator[R]:
    """Yield results in order of completion. At most `workers` items are in flight, and one failure ends it all."""
    with ThreadPoolExecutor(workers) as pool:
        pending: set[Future[R]] = set()
        try:
            for item in items:
                pending.add(pool.submit(function, item))
                if len(pending) >= workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            for future in pending:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _hash_pieces(descriptor: int, piece_bytes: int) -> tuple[str, list[tuple[str, int]]]:
    """Hash a file as a whole and piece by piece; an empty file has one empty piece."""
    whole = hashlib.sha256()
    pieces: list[tuple[str, int]] = []
    while True:
        piece, size = hashlib.sha256(), 0
        while size < piece_bytes and (chunk := os.read(descriptor, min(CHUNK_BYTES, piece_bytes - size))):
            piece.update(chunk)
            whole.update(chunk)
            size += len(chunk)
        if size or not pieces:
            pieces.append((piece.hexdigest(), size))
        if size < piece_bytes:
            return whole.hexdigest(), pieces
