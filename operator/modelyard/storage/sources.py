"""Sources: what the (uri, digest) of an input or model points to, listed, hashed and fetched (docs/contracts.md)."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from modelyard.storage.blobs import blob_key, map_concurrently, read_blob
from modelyard.storage.errors import DigestMismatch, InvalidSource, ObjectNotFound
from modelyard.storage.manifests import (
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    FileEntry,
    Manifest,
    check_path,
    digest_of,
    parse_manifest,
)
from modelyard.storage.objects import ObjectInfo, ObjectStore, Store, read_all, split_uri
from modelyard.storage.retry import Patience
from modelyard.storage.trees import create_beneath

_TREE_URI: Final = re.compile(r"(.+/)blobs/sha256/([0-9a-f]{64})")

OpenStore = Callable[[str], Store]


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: where it goes, how to read it, and what it must be if that is known beforehand."""

    path: str
    expected: FileEntry | None
    read: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Listing:
    """What a source holds, before its bytes are read."""

    uri: str
    files: tuple[SourceFile, ...]
    fingerprint: str
    """Changes whenever the store says that something was written."""
    version: str | None = None
    digest: str | None = None
    """Known before reading for a content-addressed tree only."""
    bytes: int = 0


@dataclass(frozen=True)
class Identity:
    """What a source is: digest and size of its bytes."""

    digest: str
    bytes: int


def list_source(uri: str, open_store: OpenStore = ObjectStore) -> Listing:
    """Look at a source without reading more than a manifest.

    Raises:
        StorageError: InvalidSource, ObjectNotFound, AccessDenied, StoreUnreachable, or DigestMismatch of a manifest.
    """
    if match := _TREE_URI.fullmatch(uri):
        return _list_tree(uri, open_store(match[1]), match[2])
    if uri.endswith("/"):
        return _list_prefix(uri, open_store(uri))
    base, name = split_uri(uri)
    return _list_object(uri, open_store(base), name)


def hash_source(listing: Listing, patience: Patience) -> Identity:
    """Read every byte of a source, verify what is known, and keep nothing.

    Raises:
        DigestMismatch: a file of a content-addressed tree is not what its name says.
        StorageError: the source cannot be read.
    """
    return _identity(listing, map_concurrently(partial(_hash_file, patience), listing.files))


def fetch_source(listing: Listing, digest: str, folder: Path, patience: Patience) -> Identity:
    """Write a source's files to a folder, which appears at once and complete, or not at all.

    Args:
        listing: the source.
        digest: what it must hash to.
        folder: replaced when it exists; its parent must exist.
        patience: how outages are sat out.

    Raises:
        DigestMismatch: the bytes are not the ones that were asked for.
        DiskFull: the volume is full.
        StorageError: the source cannot be read.
    """
    if listing.digest not in (None, digest):
        raise DigestMismatch(f"{listing.uri}: must have the digest {digest}")
    partly = folder.with_name(f".partial-{folder.name}")
    for leftover in (partly, folder):
        if leftover.exists():
            shutil.rmtree(leftover)
    partly.mkdir()
    identity = _identity(listing, map_concurrently(partial(_fetch_file, patience, partly), listing.files))
    if identity.digest != digest:
        raise DigestMismatch(f"{listing.uri}: must have the digest {digest}, has {identity.digest}")
    partly.rename(folder)
    return identity


def _list_tree(uri: str, store: Store, sha256: str) -> Listing:
    data = read_all(store, blob_key(sha256), MAX_MANIFEST_BYTES)
    digest = digest_of(data)
    if digest != f"sha256:{sha256}":
        raise DigestMismatch(f"{uri}: the manifest has the digest {digest}, not the one of its name")
    manifest = parse_manifest(data)
    files = tuple(
        SourceFile(file.path, file, partial(read_blob, store, file.sha256, file.size)) for file in manifest.files
    )
    return Listing(uri, files, fingerprint=digest, digest=digest, bytes=manifest.total_bytes)


def _list_prefix(uri: str, store: Store) -> Listing:
    found: list[ObjectInfo] = []
    for info in store.list():
        found.append(info)
        if len(found) > MAX_FILES:
            raise InvalidSource(f"{uri}: must hold at most {MAX_FILES} objects")
    objects = _without_folder_markers(found)
    if not objects:
        raise ObjectNotFound(f"{uri}: no object under it; upload some or correct the URI")
    for info in objects:
        check_path(info.path)
    files = tuple(SourceFile(info.path, None, partial(store.get, info.path)) for info in objects)
    return Listing(uri, files, _fingerprint(objects), bytes=sum(info.size for info in objects))


def _list_object(uri: str, store: Store, name: str) -> Listing:
    check_path(name)
    info = store.head(name)
    file = SourceFile(name, None, partial(store.get, name))
    return Listing(uri, (file,), _fingerprint([info]), info.version, bytes=info.size)


def _without_folder_markers(objects: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """Some tools make an empty object for a folder; it is no file."""
    ordered = sorted(objects, key=lambda info: info.path)
    folders = {info.path[: slash.start()] for info in ordered for slash in re.finditer("/", info.path)} | {""}
    return [info for info in ordered if info.size or info.path not in folders]


def _fingerprint(objects: Sequence[ObjectInfo]) -> str:
    text = "\n".join(
        f"{info.path} {info.size} {info.e_tag} {info.version} {info.last_modified.isoformat()}" for info in objects
    )
    return digest_of(text.encode())


def _identity(listing: Listing, entries: Iterable[FileEntry]) -> Identity:
    read = list(entries)
    if listing.digest is None and not listing.uri.endswith("/"):
        return Identity(f"sha256:{read[0].sha256}", read[0].size)
    manifest = Manifest.of(read)
    return Identity(manifest.digest, manifest.total_bytes)


def _hash_file(patience: Patience, file: SourceFile) -> FileEntry:
    return patience.call(lambda: _read(file, lambda _: None))


def _fetch_file(patience: Patience, folder: Path, file: SourceFile) -> FileEntry:
    def attempt() -> FileEntry:
        with create_beneath(folder, file.path) as descriptor:
            return _read(file, partial(_write_all, descriptor))

    return patience.call(attempt)


def _read(file: SourceFile, write: Callable[[bytes], None]) -> FileEntry:
    hashed, size = hashlib.sha256(), 0
    for chunk in file.read():
        hashed.update(chunk)
        size += len(chunk)
        if file.expected is not None and size > file.expected.size:
            raise DigestMismatch(f"'{file.path}': must have {file.expected.size} bytes, has more")
        write(chunk)
    entry = FileEntry(file.path, hashed.hexdigest(), size)
    if file.expected not in (None, entry):
        raise DigestMismatch(
            f"'{file.path}': must have the digest sha256:{file.expected.sha256}, has sha256:{entry.sha256}"
        )
    return entry


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
