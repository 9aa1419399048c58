"""Whether the model directory is the one that the server was told to serve."""

import hashlib
import os
from pathlib import Path

from modelyard.serving.errors import StartError
from modelyard.storage.errors import StorageError
from modelyard.storage.manifests import FileEntry, Manifest
from modelyard.storage.trees import open_beneath, scan_output


def directory_digest(folder: Path) -> str:
    """Return the digest of the manifest of a folder's files.

    Raises:
        StorageError: The folder is not there, or holds something that no manifest names.
        OSError: A file cannot be read.
    """
    entries = [FileEntry(file.path, _sha256(folder, file.path), file.size) for file in scan_output(folder)]
    return Manifest.of(entries).digest


def verify_directory(folder: Path, digest: str | None) -> str:
    """Check that a folder is the tree with this digest, where one is wanted, and return its digest.

    Raises:
        StartError: It is not.
    """
    try:
        found = directory_digest(folder)
    except (StorageError, OSError) as error:
        raise StartError("DigestMismatch", f"the model directory {folder} cannot be verified: {error}") from None
    if digest is not None and found != digest:
        raise StartError("DigestMismatch", f"the model directory {folder} has the digest {found}, not {digest}")
    return found


def _sha256(folder: Path, path: str) -> str:
    with open_beneath(folder, path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
