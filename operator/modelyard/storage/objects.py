"""One small interface over the object stores that obstore speaks to; obstore reads credentials from the environment."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, HTTPStore, LocalStore, S3Store

from modelyard.storage.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidSource,
    ObjectNotFound,
    StorageError,
    StoreUnreachable,
)

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig

STORE_URI: Final = "MODELYARD_STORE_URI"
CHUNK_BYTES: Final = 1024 * 1024

_URI: Final = re.compile(r"(s3|gs|az|https|file)://([^\s?#/]*)(/[^\s?#]*)?")
_ALLOW_HTTP: Final = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
_RETRIES: Final["RetryConfig"] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
# A read takes as long as its object is large, so only its silence is bounded; a write is at most one piece.
_READ_TIMEOUT: Final = timedelta(hours=24)
_SILENCE_TIMEOUT: Final = timedelta(seconds=30)
_WRITE_TIMEOUT: Final = timedelta(minutes=5)
_CONNECT_TIMEOUT: Final = timedelta(seconds=5)

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
_UNSUPPORTED: Final = ("501", "505")  # such as a listing asked of a plain web server
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})
# Some servers answer an unknown key id with 404.
_BAD_KEYS: Final = frozenset({"XAdminUserNotFound", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"})
_METADATA_SERVICE: Final = "169.254.169.254"  # asked for credentials when the environment has none
_ASK_FOR_KEYS: Final = "check the credentials in the Secret 'modelyard-store' and what they may do"

_Backend = S3Store | GCSStore | AzureStore | HTTPStore | LocalStore


@dataclass(frozen=True)
class ObjectInfo:
    """What a store says about an object. `path` is relative to the store."""

    path: str
    size: int
    e_tag: str | None
    version: str | None
    last_modified: datetime


class Store(Protocol):
    """The objects beneath one URI. Paths are relative, POSIX-like. Every method raises StorageError."""

    def url(self, path: str) -> str:
        """Return the URI of an object."""

    def head(self, path: str) -> ObjectInfo:
        """Describe an object."""

    def get(self, path: str, version: str | None = None) -> Iterator[bytes]:
        """Yield an object's bytes in chunks of about 1 MiB; of the newest version, or of one that `head` named."""

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what is there."""

    def put_if_absent(self, path: str, data: bytes) -> None:
        """Write an object unless there is one (AlreadyExists); a server may ignore the condition and replace it."""

    def delete(self, path: str) -> None:
        """Delete an object; one that is gone counts as deleted."""

    def list(self) -> Iterator[ObjectInfo]:
        """Yield all objects, in no order."""


class ObjectStore:
    """A Store behind s3://, gs://, az://, https:// or file://."""

    def __init__(self, uri: str) -> None:
        """Make the client that reads; nothing is connected yet.

        Args:
            uri: a folder-like prefix, such as `s3://bucket/prefix/`; a trailing `/` is implied.

        Raises:
            InvalidSource: the URI or the environment cannot be used.
            ObjectNotFound: a folder of file:// does not exist.
        """
        self._uri = uri.rstrip("/") + "/"
        with _translated(self._uri):
            self._reader = _backend(self._uri, _client(_READ_TIMEOUT))

    @cached_property
    def _writer(self) -> _Backend:
        return _backend(self._uri, _client(_WRITE_TIMEOUT))

    def url(self, path: str) -> str:
        """Return the URI of an object."""
        return self._uri + path

    def head(self, path: str) -> ObjectInfo:
        """Describe an object."""
        try:
            with _translated(self.url(path)):
                return _info(obstore.head(self._reader, path))
        except ObjectNotFound:
            # An answer to HEAD has no body that tells a missing object from a missing bucket or an unknown key.
            with _translated(self.url(path)):
                return _info(obstore.get(self._reader, path).meta)

    def get(self, path: str, version: str | None = None) -> Iterator[bytes]:
        """Yield an object's bytes in chunks of about 1 MiB; of the newest version, or of one that `head` named."""
        options: GetOptions | None = {"version": version} if version else None
        with _translated(self.url(path)):
            for chunk in obstore.get(self._reader, path, options=options).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        with _translated(self.url(path)):
            obstore.put(self._writer, path, data, use_multipart=False)

    def put_if_absent(self, path: str, data: bytes) -> None:
        """Write an object unless there is one (AlreadyExists); a server may ignore the condition and replace it."""
        with _translated(self.url(path)):
            obstore.put(self._writer, path, data, mode="create")

    def delete(self, path: str) -> None:
        """Delete an object; one that is gone counts as deleted."""
        with suppress(ObjectNotFound), _translated(self.url(path)):
            obstore.delete(self._writer, path)

    def list(self) -> Iterator[ObjectInfo]:
        """Yield all objects, in no order."""
        with _translated(self._uri):
            for batch in obstore.list(self._reader, chunk_size=1000):
                for found in batch:
                    yield _info(found)


def read_all(store: Store, path: str, limit: int) -> bytes:
    """Return the bytes of a small object.

    Raises:
        InvalidSource: it is larger than `limit` bytes.
    """
    data = bytearray()
    for chunk in store.get(path):
        data += chunk
        if len(data) > limit:
            raise InvalidSource(f"{store.url(path)}: must be at most {limit} bytes")
    return bytes(data)


def split_uri(uri: str) -> tuple[str, str]:
    """Split the URI of an object into the URI of its folder and its name.

    Raises:
        InvalidSource: it names no object.
    """
    base, _, name = uri.rpartition("/")
    if not name or base.endswith(("/", ":")):
        raise InvalidSource(f"'{uri}': must name an object in a bucket, or end in '/' for all objects under it")
    return base + "/", name


def _backend(uri: str, client: "ClientConfig") -> _Backend:
    match = _URI.fullmatch(uri)
    if match is None:
        raise InvalidSource(f"'{uri}': must begin with s3://, gs://, az://, https:// or file://, without '?' and '#'")
    scheme, authority, path = match.groups()
    prefix = (path or "").strip("/")
    if any(name in (".", "..", "") for name in prefix.split("/")) and prefix:
        raise InvalidSource(f"'{uri}': must not contain '.', '..' or empty names")
    if scheme == "file":
        return _local(uri, authority, prefix)
    if not authority:
        raise InvalidSource(f"'{uri}': must name a bucket, container or host after {scheme}://")
    if scheme == "s3":
        return S3Store(authority, prefix=prefix or None, client_options=client, retry_config=_RETRIES)
    if scheme == "gs":
        return GCSStore(authority, prefix=prefix or None, client_options=client, retry_config=_RETRIES)
    if scheme == "az":
        return AzureStore(authority, prefix=prefix or None, client_options=client, retry_config=_RETRIES)
    return HTTPStore(uri, client_options=client, retry_config=_RETRIES)


def _local(uri: str, authority: str, prefix: str) -> LocalStore:
    """Open a folder of the store's own: any other could hand this container's files, credentials too, to user code."""
    allowed = os.environ.get(STORE_URI, "")
    folder = Path("/" + prefix).resolve()
    root = Path("/" + allowed.removeprefix("file://").strip("/")).resolve()
    if authority or not allowed.startswith("file:///") or not folder.is_relative_to(root) or root == Path("/"):
        raise InvalidSource(f"'{uri}': file:// must lie beneath {STORE_URI}, which is '{allowed}'")
    return LocalStore(folder, mkdir=folder == root)


def _client(timeout: timedelta) -> "ClientConfig":
    # Client options that are given here replace those of the environment, this one included.
    allow_http = any(os.environ.get(name, "").lower() in ("true", "1") for name in _ALLOW_HTTP)
    return {
        "allow_http": allow_http,
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _SILENCE_TIMEOUT,
        "timeout": timeout,
    }


def _info(meta: "obstore.ObjectMeta") -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"], meta["version"], meta["last_modified"])


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (exceptions.BaseError, OSError, ValueError) as error:
        raise explain(url, error) from None


def explain(url: str, error: Exception) -> StorageError:
    """Turn an error of obstore into ours. Messages are the same each time, so that watchers see no false change."""
    text = str(error)
    code = _first(_CODE, text)
    status = _first(_STATUS, text)
    said = code or (f"status {status}" if status else "no connection")
    if isinstance(error, exceptions.AlreadyExistsError):
        return AlreadyExists(f"{url}: exists")
    if code in _NO_BUCKET:
        return ObjectNotFound(f"{url}: the bucket does not exist; make it or correct the URI")
    if _METADATA_SERVICE in text:
        return AccessDenied(f"{url}: no credentials were found; {_ASK_FOR_KEYS}")
    denied = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
    if denied or code in _BAD_KEYS or status in ("401", "403") or "kind: PermissionDenied" in text:
        return AccessDenied(f"{url}: the store refused access ({said}); {_ASK_FOR_KEYS}")
    if isinstance(error, FileNotFoundError) or status == "404" or "kind: NotFound" in text:
        return ObjectNotFound(f"{url}: not found; upload it or correct the URI")
    return _explain_rest(url, text, said, status)


def _explain_rest(url: str, text: str, said: str, status: str) -> StorageError:
    if "builder error" in text:
        return InvalidSource(f"{url}: the endpoint cannot be used; for one without TLS set AWS_ALLOW_HTTP to 'true'")
    if "ccount must be specified" in text:
        return InvalidSource(f"{url}: set AZURE_STORAGE_ACCOUNT_NAME in the Secret 'modelyard-store'")
    if (
        "Could not parse path" in text
        or status in _UNSUPPORTED
        or (status.startswith("4") and status not in ("408", "429"))
    ):
        return InvalidSource(f"{url}: the store does not accept this ({said}); correct the URI")
    return StoreUnreachable(f"{url}: the store does not answer ({said})")


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match.group(1) if match else ""
