"""Reading what a store keeps of a model: its record, the run that made it, and its signature."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pydantic import ValidationError

from modelyard.api.v1alpha1.modelversion import Artifact, ModelVersionSpec
from modelyard.lineage.run import MAX_RUN_BYTES, RUN_FILE, RunRecord, parse_run
from modelyard.model.errors import InvalidModel
from modelyard.model.signature import SIGNATURE_FILE, Signature
from modelyard.storage.blobs import read_blob
from modelyard.storage.errors import InvalidSource, ObjectNotFound, StorageError
from modelyard.storage.manifests import MAX_MANIFEST_BYTES, digest_of, parse_manifest
from modelyard.storage.objects import STORE_URI, ObjectStore, read_all, split_uri

MAX_RECORD_BYTES: Final = 1024 * 1024
MAX_RECORDS: Final = 100_000
_MAX_SIGNATURE_BYTES: Final = 16 * 1024 * 1024
_TREE: Final = re.compile(r"(.+/)blobs/sha256/[0-9a-f]{64}")
_RECORD: Final = re.compile(r"([a-z][-a-z0-9]{0,49})/v([1-9][0-9]{0,6})/record\.json")
_URI: Final = re.compile(r"[a-z0-9]+://.+")


class RecordsError(Exception):
    """What was asked for cannot be read; the text names it and says why."""


@dataclass(frozen=True)
class Recorded:
    """A record, and the run beside it where there is one."""

    record: ModelVersionSpec
    run: RunRecord | None


def read_recorded(location: str) -> Recorded:
    """Read a `record.json`, a local file or an object of a store, and the `run.json` beside it.

    Raises:
        RecordsError: it cannot be read, or is no record.
    """
    try:
        place, name = _place(location)
        record = _record(place, name)
        digest = record.lineage.run_digest if record.lineage else None
        try:
            return Recorded(record, _run(place, RUN_FILE, digest) if digest else None)
        except (ObjectNotFound, FileNotFoundError):
            return Recorded(record, None)
    except (StorageError, OSError) as error:
        raise RecordsError(str(error)) from None


def read_run(record: ModelVersionSpec) -> RunRecord:
    """Read the run that made a version from the store that holds its bytes.

    Raises:
        RecordsError: there is none, or it cannot be read with the credentials of this environment.
    """
    tree = _TREE.fullmatch(record.artifact.uri)
    if tree is None or record.lineage is None or record.lineage.run_digest is None:
        raise RecordsError(f"the record of {record.model}-v{record.version} names no {RUN_FILE}")
    path = f"models/{record.model}/v{record.version}/{RUN_FILE}"
    try:
        return _run(_Stored(ObjectStore(tree[1])), path, record.lineage.run_digest)
    except StorageError as error:
        raise RecordsError(f"{tree[1]}{path}: {error}") from None


def read_signature(artifact: Artifact) -> Signature:
    """Read the signature of a model from the store that holds its bytes; every byte is verified.

    Raises:
        RecordsError: it cannot be read with the credentials of this environment.
    """
    tree = _TREE.fullmatch(artifact.uri)
    if tree is None:
        raise RecordsError(f"'{artifact.uri}': must end in 'blobs/sha256/' and a digest to be read from here")
    try:
        store = ObjectStore(tree[1])
        data = read_all(store, artifact.uri.removeprefix(tree[1]), MAX_MANIFEST_BYTES)
        if digest_of(data) != artifact.digest:
            raise RecordsError(f"'{artifact.uri}': the manifest does not have the digest of the record")
        file = next((file for file in parse_manifest(data).files if file.path == SIGNATURE_FILE), None)
        if file is None or file.size > _MAX_SIGNATURE_BYTES:
            raise RecordsError(f"'{artifact.uri}': holds no {SIGNATURE_FILE} of at most {_MAX_SIGNATURE_BYTES} bytes")
        return Signature.from_json(b"".join(read_blob(store, file.sha256, file.size)))
    except (StorageError, InvalidModel) as error:
        raise RecordsError(f"{SIGNATURE_FILE} of '{artifact.uri}': {error}") from None


def stored_records(uri: str, model: str | None) -> Iterator[ModelVersionSpec]:
    """Yield all records of a store, those of one model if one is named.

    Args:
        uri: what `MODELYARD_STORE_URI` is in the namespace.
        model: the model line; None = all.

    Raises:
        RecordsError: the store cannot be read, or holds a record that is none.
    """
    os.environ.setdefault(STORE_URI, uri)  # file:// is read beneath it alone
    try:
        store = ObjectStore(f"{uri.rstrip('/')}/models/")
        paths = sorted(info.path for info in store.list() if _RECORD.fullmatch(info.path))
        if len(paths) > MAX_RECORDS:
            raise RecordsError(f"{uri}: must hold at most {MAX_RECORDS} records, holds {len(paths)}")
        for path in paths:
            if model in (None, path.partition("/")[0]):
                yield _in_its_place(_Stored(store), path)
    except StorageError as error:
        raise RecordsError(str(error)) from None


class _Place(Protocol):
    """Where a record is, with what is beside it."""

    def name(self, path: str) -> str:
        """Return how a person would name a file of it."""

    def read(self, path: str, limit: int) -> bytes:
        """Return a file's bytes; raises StorageError or OSError."""


@dataclass(frozen=True)
class _Stored:
    store: ObjectStore

    def name(self, path: str) -> str:
        return self.store.url(path)

    def read(self, path: str, limit: int) -> bytes:
        return read_all(self.store, path, limit)


@dataclass(frozen=True)
class _Local:
    folder: Path

    def name(self, path: str) -> str:
        return str(self.folder / path)

    def read(self, path: str, limit: int) -> bytes:
        with (self.folder / path).open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise InvalidSource(f"{self.name(path)}: must be at most {limit} bytes")
        return data


def _place(location: str) -> tuple[_Place, str]:
    if _URI.fullmatch(location):
        base, name = split_uri(location)
        return _Stored(ObjectStore(base)), name
    path = Path(location)
    return _Local(path.parent), path.name


def _in_its_place(place: _Place, path: str) -> ModelVersionSpec:
    record = _record(place, path)
    if path != f"{record.model}/v{record.version}/record.json":
        raise RecordsError(f"{place.name(path)}: is the record of {record.model}-v{record.version}; move it away")
    return record


def _record(place: _Place, path: str) -> ModelVersionSpec:
    try:
        return ModelVersionSpec.model_validate_json(place.read(path, MAX_RECORD_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise RecordsError(f"{place.name(path)}: is no record of a ModelVersion: {field}: {first['msg']}") from None


def _run(place: _Place, path: str, digest: str) -> RunRecord:
    data = place.read(path, MAX_RUN_BYTES)
    if digest_of(data) != digest:
        raise RecordsError(f"{place.name(path)}: must have the digest {digest}, has {digest_of(data)}")
    try:
        return parse_run(data)
    except ValueError as error:
        raise RecordsError(f"{place.name(path)}: {error}") from None
