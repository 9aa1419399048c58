"""Sources: what the (uri, digest) of an input or model points to, listed, hashed and fetched (docs/contracts.md)."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from modelyard.storage import parquet
from modelyard.storage.blobs import blob_key, blob_size, map_concurrently, read_blob
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
from modelyard.storage.tables import MAX_METADATA_BYTES, Table, read_table
from modelyard.storage.trees import create_beneath

GIT_SCHEME: Final = "git+"
_TREE_URI: Final = re.compile(r"(.+/)blobs/sha256/([0-9a-f]{64})")
_NO_VERSION: Final = "null"  # S3's name for what was written while versioning was off, and may be written again
_NO_DATA: Final = re.compile(r"(.*/)?[._][^/]*(/.*)?")  # such as _SUCCESS, _delta_log/…, .crc files

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
    """Empty when they are known only once it is opened."""
    fingerprint: str
    """Changes whenever the store says that something was written."""
    version: str | None = None
    """Version of an object, or commit."""
    digest: str | None = None
    """Known before reading for a content-addressed tree only."""
    bytes: int = 0
    is_fixed: bool = False
    """What it names can be written no more, such as a commit."""
    is_object: bool = False
    """One object, whose digest is that of its bytes and not that of a manifest."""
    open_files: Callable[[], AbstractContextManager[tuple[SourceFile, ...]]] | None = None
    """Brings files that are known only once it is opened."""

    def opened(self) -> AbstractContextManager[tuple[SourceFile, ...]]:
        """Return the files, which can be read until the end of the `with` block."""
        return self.open_files() if self.open_files else nullcontext(self.files)


@dataclass(frozen=True)
class Identity:
    """What a source is: digest and size of its bytes."""

    digest: str
    bytes: int
    rows: int | None = None
    """Of all its Parquet files together, if all of its data are such; counted only when it is hashed."""


def list_source(uri: str, open_store: OpenStore = ObjectStore, version: str | None = None) -> Listing:
    """Look at a source without reading more than a manifest.

    Args:
        uri: where it is.
        open_store: makes the client of a store.
        version: version of an object, or commit, that an earlier listing named; absent = what is there now.

    Raises:
        StorageError: InvalidSource, ObjectNotFound, RefNotFound, AccessDenied, StoreUnreachable, or DigestMismatch of
            a manifest.
    """
    if uri.startswith(GIT_SCHEME):
        return _list_git(uri, version)
    if match := _TREE_URI.fullmatch(uri):
        return _list_tree(uri, open_store(match[1]), match[2])
    if uri.endswith("/"):
        return _list_prefix(uri, open_store(uri))
    base, name = split_uri(uri)
    return _list_object(uri, open_store(base), name, version)


def hash_source(listing: Listing, patience: Patience) -> Identity:
    """Read every byte of a source, verify what is known, and keep nothing.

    Raises:
        DigestMismatch: a file of a content-addressed tree is not what its name says.
        StorageError: the source cannot be read.
    """
    with _opened(listing, patience) as files:
        read = list(map_concurrently(partial(_hash_file, patience), files))
    identity = _identity(listing, [entry for entry, _ in read])
    rows = [count for entry, count in read if not _NO_DATA.fullmatch(entry.path)]
    known = [count for count in rows if count is not None]
    return replace(identity, rows=sum(known)) if rows and len(known) == len(rows) else identity


def describe_table(listing: Listing) -> Table | None:
    """Return the state of the Delta Lake or Iceberg table that a source is, None when it is none.

    Raises:
        StorageError: its metadata cannot be read.
    """
    files = {file.path: file for file in listing.files}

    def read(path: str) -> bytes | None:
        data = bytearray()
        for chunk in files[path].read():
            data += chunk
            if len(data) > MAX_METADATA_BYTES:
                return None
        return bytes(data)

    return read_table(files, read)


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
    with _opened(listing, patience) as files:
        identity = _identity(listing, map_concurrently(partial(_fetch_file, patience, partly), files))
    if identity.digest != digest:
        raise DigestMismatch(f"{listing.uri}: must have the digest {digest}, has {identity.digest}")
    partly.rename(folder)
    return identity


def check_tree(uri: str, open_store: OpenStore = ObjectStore) -> None:
    """Look whether a content-addressed tree is whole: its manifest is read, of its files only the sizes are asked.

    Raises:
        ObjectNotFound: a file, or a part of it, is missing.
        DigestMismatch: the manifest or the size of a file is not what its name says.
        StorageError: InvalidSource, AccessDenied, StoreUnreachable, or InvalidManifest.
    """
    match = _TREE_URI.fullmatch(uri)
    if match is None:
        raise InvalidSource(f"'{uri}': must end in blobs/sha256/ and 64 hexadecimal digits")
    store = open_store(match[1])
    files = {file.expected.sha256: file.expected for file in _list_tree(uri, store, match[2]).files if file.expected}
    for file, size in map_concurrently(lambda file: (file, blob_size(store, file.sha256, file.size)), files.values()):
        if size != file.size:
            raise DigestMismatch(f"{uri}: '{file.path}' must have {file.size} bytes, has {size}")


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


def _list_object(uri: str, store: Store, name: str, version: str | None) -> Listing:
    check_path(name)
    if version is None:
        info = store.head(name)
        kept = None if info.version == _NO_VERSION else info.version
        listing = Listing(uri, (), _fingerprint([info]), kept, bytes=info.size)
    else:
        listing = Listing(uri, (), digest_of(version.encode()), version)
    file = SourceFile(name, None, partial(store.get, name, listing.version))
    return replace(listing, files=(file,), is_fixed=listing.version is not None, is_object=True)


def _list_git(uri: str, version: str | None) -> Listing:
    from modelyard.storage import git  # noqa: PLC0415 - the model server's image has no git

    commit = version or git.resolve_commit(uri)

    @contextmanager
    def open_files() -> Iterator[tuple[SourceFile, ...]]:
        with git.checked_out(uri, commit) as files:
            yield tuple(SourceFile(file.path, None, file.read) for file in files)

    return Listing(uri, (), digest_of(commit.encode()), commit, is_fixed=True, open_files=open_files)


@contextmanager
def _opened(listing: Listing, patience: Patience) -> Iterator[tuple[SourceFile, ...]]:
    with ExitStack() as stack:
        yield patience.call(lambda: stack.enter_context(listing.opened()))


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
    if listing.is_object:
        return Identity(f"sha256:{read[0].sha256}", read[0].size)
    manifest = Manifest.of(read)
    return Identity(manifest.digest, manifest.total_bytes)


def _hash_file(patience: Patience, file: SourceFile) -> tuple[FileEntry, int | None]:
    """Return what a file is, and how many rows it has if it is Parquet."""
    if not file.path.endswith(".parquet"):
        return patience.call(lambda: _read(file, lambda _: None)), None

    def attempt() -> tuple[FileEntry, int | None]:
        tail = parquet.Tail()
        return _read(file, tail.write), tail.rows()

    return patience.call(attempt)


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
