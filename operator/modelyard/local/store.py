"""The folder that is store and cluster at once: artifacts as in any store, and the ModelVersions in `versions/`."""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from modelyard.api.v1alpha1 import ModelVersion
from modelyard.api.v1alpha1.champion import champion
from modelyard.api.v1alpha1.trainingrun import Input, ResolvedInput
from modelyard.local.manifest import NAMESPACE, RunError
from modelyard.manifests.documents import ManifestError, parse_documents
from modelyard.storage.blobs import BlobWriter
from modelyard.storage.errors import StorageError
from modelyard.storage.manifests import digest_of
from modelyard.storage.objects import STORE_URI, ObjectStore
from modelyard.storage.records import report_key
from modelyard.storage.retry import Patience
from modelyard.storage.sources import hash_source, list_source
from modelyard.storage.trees import scan_output

LOCK_SECONDS: Final = 600.0
_LOCK_POLL_SECONDS: Final = 0.1
_FILE: Final = "file://"
_SAFE: Final = re.compile(r"[^\s?#]+")


class LocalStore:
    """A store in a folder.

    Attributes:
        uri: what `MODELYARD_STORE_URI` says.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder. From here on, this process may read and write beneath it.

        Raises:
            RunError: its path cannot be part of a URI, or it cannot be made.
        """
        self.folder = folder.resolve()
        if not _SAFE.fullmatch(str(self.folder)):
            raise RunError(f"--store: must be a path without spaces, '?' and '#', is '{self.folder}'")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"--store: cannot make the folder {self.folder}: {error.strerror}") from None
        self.uri = f"{_FILE}{self.folder}/"
        os.environ[STORE_URI] = self.uri  # modelyard.storage opens file:// beneath it only

    def resolve(self, item: Input) -> ResolvedInput:
        """Return what an input is; files of this machine are copied to the store first, so that their bytes stay.

        Raises:
            RunError: it cannot be read, or is not what `digest` pins.
        """
        try:
            found = self._keep(item.name, Path(item.uri.removeprefix(_FILE))) if item.uri.startswith(_FILE) else None
            found = found or _remote(item)
        except (StorageError, OSError) as error:
            raise RunError(f"input '{item.name}' ({item.uri}): {error}") from None
        if item.digest and found.digest != item.digest:
            raise RunError(
                f"input '{item.name}' ({item.uri}): has the digest {found.digest}, but `digest` pins {item.digest}"
            )
        return found

    def champion(self, model: str) -> ModelVersion | None:
        """Return the champion among the versions of this store.

        Raises:
            RunError: a file in `versions/` is not a ModelVersion.
        """
        return champion((_read_version(file) for file in sorted(self._versions.glob(f"{model}-v*.yaml"))), model)

    def reserve_version(self, model: str) -> int:
        """Return a number that no version has or ever had; the folder of its record takes it."""
        folder = self.folder / "models" / model
        folder.mkdir(parents=True, exist_ok=True)
        number = max((*_numbers(folder, "v"), *_numbers(self._versions, f"{model}-v")), default=0) + 1
        (folder / f"v{number}").mkdir()
        return number

    @contextmanager
    def locked(self, wait: Callable[[float], None]) -> Iterator[None]:
        """Keep other runs of this store from judging and numbering versions at the same time.

        Args:
            wait: sleeps for so many seconds.

        Raises:
            RunError: others kept it for LOCK_SECONDS.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        with (self.folder / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RunError(f"another run holds {lock.name} since {LOCK_SECONDS:.0f} s") from None
                wait(_LOCK_POLL_SECONDS)
            yield

    def add_version(self, manifest: Mapping[str, Any], model_folder: Path) -> Path:
        """Write the model directory and, last, the manifest of a version; return the manifest's path."""
        name = str(manifest["metadata"]["name"])
        self._versions.mkdir(exist_ok=True)
        partly = self._versions / f".{name}"
        shutil.rmtree(partly, ignore_errors=True)
        shutil.copytree(model_folder, partly)
        partly.chmod(0o755)
        partly.rename(self._versions / name)
        file = self._versions / f"{name}.yaml"
        written = file.with_name(f".{file.name}")
        written.write_text(yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True), encoding="utf-8")
        written.rename(file)
        return file

    def work_folder(self, run: str, step: str, attempt: int) -> Path:
        """Return the folder in which an attempt works."""
        return self.folder / "work" / run / f"{step}-{attempt}"

    def log_file(self, uid: str, step: str, attempt: int) -> Path:
        """Return the file of an attempt's log, beside its result."""
        return self.folder / "runs" / uid / step / str(attempt) / "log.txt"

    def report_file(self, spec: Mapping[str, Any]) -> Path | None:
        """Return the page that explains a version's evaluation, None when there is none."""
        file = self.folder / report_key(spec["model"], spec["version"])
        return file if file.is_file() else None

    @property
    def _versions(self) -> Path:
        return self.folder / "versions"

    def _keep(self, name: str, path: Path) -> ResolvedInput:
        if path.is_dir():
            tree = self._writer().upload_tree(path, scan_output(path))
            return ResolvedInput(name=name, uri=tree.uri, digest=tree.digest, bytes=tree.bytes)
        if not _SAFE.fullmatch(path.name):
            raise RunError(f"input '{name}': must be a file without spaces, '?' and '#' in its name, is '{path.name}'")
        data = path.read_bytes()
        digest = digest_of(data)
        key = f"inputs/{digest.removeprefix('sha256:')}/{path.name}"
        self._writer().put(key, data)
        return ResolvedInput(name=name, uri=self.uri + key, digest=digest, bytes=len(data))

    def _writer(self) -> BlobWriter:
        return BlobWriter(ObjectStore(self.uri), _no_patience())


def local_uri(path: Path) -> str:
    """Return the `file://` URI of a file or folder that is there.

    Raises:
        RunError: it is not there, or its path cannot be part of a URI.
    """
    found = path.resolve()
    if not found.exists():
        raise RunError(f"--input: {path} must be a file or folder that exists")
    if not _SAFE.fullmatch(str(found)):
        raise RunError(f"--input: must be a path without spaces, '?' and '#', is '{found}'")
    return f"{_FILE}{found}" + ("/" if found.is_dir() else "")


def _remote(item: Input) -> ResolvedInput:
    listing = list_source(item.uri)
    identity = hash_source(listing, _no_patience())
    return ResolvedInput(
        name=item.name, uri=item.uri, digest=identity.digest, version=listing.version, bytes=identity.bytes
    )


def _no_patience() -> Patience:
    return Patience(0.0, lambda _: None)


def _numbers(folder: Path, prefix: str) -> Iterator[int]:
    for entry in folder.glob(f"{prefix}*"):
        if match := re.fullmatch(rf"{re.escape(prefix)}([1-9][0-9]{{0,6}})(\.yaml)?", entry.name):
            yield int(match[1])


def _read_version(file: Path) -> ModelVersion:
    try:
        (document,) = parse_documents(file.read_text(encoding="utf-8"))
        manifest = dict(document.value)
        manifest["metadata"] = {"namespace": NAMESPACE, "uid": "", **manifest["metadata"]}
        return ModelVersion.model_validate(manifest)
    except (OSError, ValueError, TypeError, KeyError, ManifestError) as error:
        raise RunError(f"{file}: must be the manifest of a ModelVersion: {error}") from None
