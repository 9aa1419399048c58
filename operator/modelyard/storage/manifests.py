"""Manifests: the canonical list of a tree's files, whose sha256 is the tree's digest. Pure."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from modelyard.storage.errors import InvalidManifest

SCHEMA: Final = "modelyard.dev/manifest/v1"
MAX_FILES: Final = 100_000
MAX_BYTES: Final = 2**53 - 1
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
_MAX_PATH_BYTES: Final = 1024
_MAX_NAME_BYTES: Final = 255
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, order=True)
class FileEntry:
    """One file of a tree."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The files of a tree, sorted by path."""

    files: tuple[FileEntry, ...]

    @classmethod
    def of(cls, files: Iterable[FileEntry]) -> "Manifest":
        """Return the manifest of these files, in any order.

        Raises:
            InvalidManifest: a path, digest or size is not allowed, or there are too many.
        """
        ordered = tuple(sorted(files))
        _check(ordered)
        return cls(ordered)

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the canonical JSON."""
        return digest_of(self.to_json())

    def to_json(self) -> bytes:
        """Return the canonical JSON."""
        files = [{"path": file.path, "sha256": file.sha256, "size": file.size} for file in self.files]
        document = {"files": files, "schema": SCHEMA}
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest that may come from anyone.

    Raises:
        InvalidManifest: it is not the canonical JSON of an allowed manifest.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidManifest(f"manifest must be at most {MAX_MANIFEST_BYTES} bytes, is {len(data)}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidManifest("manifest must be JSON") from None
    manifest = Manifest.of(_entries(document))
    if manifest.to_json() != data:
        raise InvalidManifest(f"manifest must be canonical JSON of the schema '{SCHEMA}', sorted by path")
    return manifest


def check_path(path: str) -> None:
    """Check a path that will be written beneath a folder.

    Raises:
        InvalidManifest: it is not a plain relative POSIX path of bounded length.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise InvalidManifest(f"path {path!r} must be UTF-8") from None
    if len(encoded) > _MAX_PATH_BYTES or any(len(name.encode()) > _MAX_NAME_BYTES for name in path.split("/")):
        raise InvalidManifest(
            f"path {path[:80]!r}… must be at most {_MAX_PATH_BYTES} bytes with names of {_MAX_NAME_BYTES}"
        )
    if _CONTROL.search(path) or any(name in ("", ".", "..") for name in path.split("/")):
        raise InvalidManifest(f"path {path!r} must be relative, without '.', '..', empty names and control characters")


def _entries(document: Any) -> list[FileEntry]:
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, list) or len(files) > MAX_FILES:
        raise InvalidManifest(f"manifest must have a list 'files' of at most {MAX_FILES}")
    return [_entry(file) for file in files]


def _entry(file: Any) -> FileEntry:
    match file:
        case {"path": str(path), "sha256": str(sha256), "size": int(size)} if not isinstance(size, bool):
            return FileEntry(path, sha256, size)
        case _:
            raise InvalidManifest("manifest must have 'path', 'sha256' and 'size' for every file")


def _check(files: tuple[FileEntry, ...]) -> None:
    if len(files) > MAX_FILES:
        raise InvalidManifest(f"a tree must have at most {MAX_FILES} files, has {len(files)}")
    for file in files:
        check_path(file.path)
        if not _HEX.fullmatch(file.sha256):
            raise InvalidManifest(f"path {file.path!r}: sha256 must be 64 lower-case hexadecimal digits")
        if not 0 <= file.size <= MAX_BYTES:
            raise InvalidManifest(f"path {file.path!r}: size must be from 0 to {MAX_BYTES}")
    paths = {file.path for file in files}
    folders = {path[: match.start()] for path in paths for match in re.finditer("/", path)}
    if len(paths) < len(files) or paths & folders:
        raise InvalidManifest("a tree must name every file once, and no file may be a folder of another")
    if sum(file.size for file in files) > MAX_BYTES:
        raise InvalidManifest(f"a tree must have at most {MAX_BYTES} bytes")
