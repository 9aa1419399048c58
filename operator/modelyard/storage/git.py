"""Git repositories behind https as sources: a ref is resolved to a commit, and the commit's files are read.

Nothing of a repository is run or followed: no hooks, filters, links, submodules or redirects; all sizes are bounded.
"""

import errno
import mmap
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from stat import S_IFMT, S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Final

import urllib3
from dulwich.client import AbstractHttpGitClient
from dulwich.errors import GitProtocolError, HangupException
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tag, Tree
from dulwich.refs import Ref
from typing_extensions import override
from urllib3.exceptions import HTTPError

from modelyard.storage.errors import (
    AccessDenied,
    DiskFull,
    InvalidSource,
    ObjectNotFound,
    RefNotFound,
    StorageError,
    StoreUnreachable,
)
from modelyard.storage.manifests import check_path
from modelyard.storage.packs import PackLimits, PackTooLarge, check_pack

if TYPE_CHECKING:
    from dulwich.client import HTTPResponse

MAX_FILES: Final = 20_000
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""A file is held in memory while it is read."""
MAX_PACK_BYTES: Final = 512 * 1024 * 1024
MAX_TOTAL_BYTES: Final = 2 * 1024 * 1024 * 1024
MAX_DEPTH: Final = 64
DEADLINE_SECONDS: Final = 600.0

_MAX_REFS_BYTES: Final = 32 * 1024 * 1024
_LIMITS: Final = PackLimits(objects=4 * MAX_FILES, object_bytes=MAX_FILE_BYTES)
_URI: Final = re.compile(r"git\+(https://[^\s?#@/]+/[^\s?#@]+)@([A-Za-z0-9][A-Za-z0-9._/+-]*)")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_TIMEOUT: Final = urllib3.Timeout(connect=5, read=30)
_OK: Final = 200
_HEARD_BYTES: Final = 8
_SUBMODULE: Final = 0o160000


@dataclass(frozen=True)
class GitUri:
    """Repository and ref of `git+https://host/repository@ref`."""

    repository: str
    ref: str


@dataclass(frozen=True)
class GitFile:
    """A file of a commit."""

    path: str
    read: Callable[[], Iterator[bytes]]


def parse_git_uri(uri: str) -> GitUri:
    """Split a URI.

    Raises:
        InvalidSource: it is none of git over https.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise InvalidSource(
            f"'{uri}': must be git+https://host/repository@ref, where ref is a branch, tag or commit, "
            "without user, '?' and '#'"
        )
    return GitUri(match[1], match[2])


def resolve_commit(uri: str) -> str:
    """Return the commit that a ref names now; a ref that is a whole commit id names itself.

    Raises:
        RefNotFound: the repository has no such branch or tag.
        StorageError: the repository cannot be read.
    """
    git = parse_git_uri(uri)
    if _COMMIT.fullmatch(git.ref):
        return git.ref
    names = [git.ref, f"refs/tags/{git.ref}", f"refs/heads/{git.ref}"]
    with _explained(git.repository), _connected(git.repository, _MAX_REFS_BYTES) as client:
        refs = client.get_refs(b"", ref_prefix=[name.encode() for name in names]).refs
    for name in names:
        if found := refs.get(Ref(f"{name}^{{}}".encode())) or refs.get(Ref(name.encode())):
            return _commit_id(git.repository, found)
    raise RefNotFound(f"{git.repository}: has no branch or tag '{git.ref}'; push it or correct the URI")


@contextmanager
def checked_out(uri: str, commit: str) -> Iterator[tuple[GitFile, ...]]:
    """Fetch one commit without its history and yield its files, which can be read until the end.

    Raises:
        RefNotFound: the repository does not have the commit, or does not give it away.
        InvalidSource: it holds links, submodules, or more than the limits of this module allow.
        StorageError: the repository cannot be read.
    """
    repository = parse_git_uri(uri).repository
    with ExitStack() as stack:
        with _explained(repository):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="modelyard-git-"))
            store = stack.enter_context(closing(DiskObjectStore.init(folder)))
            _fetch(repository, commit, store)
            files = tuple(_Checkout(repository, store).files(commit))
        yield files


class _Client(AbstractHttpGitClient):
    """Speaks to one repository. Reads are bounded in bytes and time, redirects are refused."""

    def __init__(self, repository: str, limit: int) -> None:
        super().__init__(repository, thin_packs=False, quiet=True)
        self._repository = repository
        self._left = limit
        self._deadline = time.monotonic() + DEADLINE_SECONDS
        self._heard = b""
        self.pool = urllib3.PoolManager(ssl_context=ssl.create_default_context(), timeout=_TIMEOUT, retries=False)

    @override
    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> "tuple[HTTPResponse, Callable[[int], bytes]]":
        if not url.startswith(f"{self._repository}/"):
            raise InvalidSource(f"{self._repository}: sends elsewhere for its files, which is not followed")
        response = self.pool.request(
            "GET" if data is None else "POST",
            url,
            headers={"User-Agent": "git/modelyard", **(headers or {})},
            body=data,
            redirect=False,
            preload_content=False,
        )
        content_type = response.headers.get("Content-Type")
        if response.status != _OK or not (content_type or "").startswith("application/x-git-"):
            response.close()
            raise _refusal(self._repository, response.status)
        answer = _Answer(response, content_type)
        self._heard = b""
        return answer, self._bounded(answer.read)

    @property
    def was_refused(self) -> bool:
        """Whether the last answer was an error, which dulwich takes for a connection that broke."""
        return self._heard[4:8] == b"ERR "

    def _bounded(self, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
        def bounded(amount: int) -> bytes:
            if time.monotonic() > self._deadline:
                raise StoreUnreachable(f"{self._repository}: takes longer than {DEADLINE_SECONDS:.0f} s")
            chunk = read(amount)
            self._left -= len(chunk)
            self._heard = (self._heard + chunk)[:_HEARD_BYTES] if len(self._heard) < _HEARD_BYTES else self._heard
            if self._left < 0:
                raise InvalidSource(f"{self._repository}: sends more than is read of a repository")
            return chunk

        return bounded


@contextmanager
def _connected(repository: str, limit: int) -> Iterator[_Client]:
    client = _Client(repository, limit)
    try:
        yield client
    finally:
        client.pool.clear()


class _Answer:
    """An answer as dulwich wants it."""

    redirect_location = ""

    def __init__(self, response: urllib3.BaseHTTPResponse, content_type: str | None) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.content_type = content_type

    def read(self, amt: int | None = None) -> bytes:
        return self._response.read(amt)

    def close(self) -> None:
        self._response.close()

    def geturl(self) -> str | None:
        return self._response.geturl()


class _Nothing:
    """What we have of the repository's history."""

    def __next__(self) -> ObjectID | None:
        return None

    def ack(self, sha: ObjectID, /) -> None:
        """Nothing is in common."""

    def nak(self) -> None:
        """Nothing is in common."""


class _Checkout:
    """The files of a commit in an object store."""

    def __init__(self, repository: str, store: DiskObjectStore) -> None:
        self._repository = repository
        self._store = store
        self._lock = threading.Lock()
        self._entries = 0
        self._bytes_left = MAX_TOTAL_BYTES

    def files(self, commit: str) -> Iterator[GitFile]:
        found = self._object(commit.encode())
        while isinstance(found, Tag):
            found = self._object(found.object[1])
        if not isinstance(found, Commit):
            raise InvalidSource(f"{self._repository}: {commit} is no commit")
        yield from self._walk(found.tree, "", 0)

    def _walk(self, tree_id: bytes, prefix: str, depth: int) -> Iterator[GitFile]:
        tree = self._object(tree_id)
        if not isinstance(tree, Tree) or depth > MAX_DEPTH:
            raise InvalidSource(f"{self._repository}: folders must be nested at most {MAX_DEPTH} deep")
        for entry in tree.items():
            path = prefix + entry.path.decode("utf-8", "surrogateescape")
            check_path(path)
            self._entries += 1
            if self._entries > MAX_FILES:
                raise InvalidSource(f"{self._repository}: must have at most {MAX_FILES} files and folders")
            if S_ISDIR(entry.mode):
                yield from self._walk(entry.sha, path + "/", depth + 1)
            elif S_ISREG(entry.mode):
                yield GitFile(path, partial(self._read, entry.sha))
            else:
                what = "submodule" if S_IFMT(entry.mode) == _SUBMODULE else "link"
                raise InvalidSource(f"{self._repository}: '{path}' is a {what}, which is not followed; remove it")

    def _read(self, blob_id: bytes) -> Iterator[bytes]:
        with _explained(self._repository):
            blob = self._object(blob_id)
        if not isinstance(blob, Blob):
            raise InvalidSource(f"{self._repository}: {blob_id.decode()} is no file")
        yield blob.data

    def _object(self, sha: bytes) -> ShaFile:
        with self._lock:  # dulwich's caches are not made for several threads
            found = self._store[ObjectID(sha)]
            self._bytes_left -= found.raw_length()
            if self._bytes_left < 0:
                raise InvalidSource(f"{self._repository}: must have at most {MAX_TOTAL_BYTES} bytes")
            return found


def _fetch(repository: str, commit: str, store: DiskObjectStore) -> None:
    """Bring a commit with its files, but not its history, to a store."""
    pack, keep, drop = store.add_pack()
    try:
        with _connected(repository, MAX_PACK_BYTES) as client:
            try:
                client.fetch_pack(b"", lambda *_, **__: [ObjectID(commit.encode())], _Nothing(), pack.write, depth=1)
            except GitProtocolError:
                if not client.was_refused:
                    raise
                raise RefNotFound(f"{repository}: does not have the commit {commit}, or gives it to nobody") from None
        pack.flush()
        with mmap.mmap(pack.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            check_pack(view, _LIMITS)
    except BaseException:
        drop()
        raise
    keep()


def _commit_id(repository: str, found: bytes) -> str:
    commit = found.decode("ascii", "replace")
    if not _COMMIT.fullmatch(commit):
        raise InvalidSource(f"{repository}: must name its commits by SHA-1")
    return commit


def _refusal(repository: str, status: int) -> StorageError:
    if status in (401, 403):
        return AccessDenied(f"{repository}: the server refused access (status {status}); only public ones are read")
    if status in (404, 410):
        return ObjectNotFound(f"{repository}: there is no such repository; correct the URI")
    if status in (408, 429) or status >= 500:  # noqa: PLR2004 - the server's own errors
        return StoreUnreachable(f"{repository}: the server is unwell (status {status})")
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        return InvalidSource(f"{repository}: is somewhere else, and redirects are not followed; correct the URI")
    return InvalidSource(f"{repository}: is no git repository (status {status}); correct the URI")


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Turn what goes wrong with a repository, which anyone may have made, into our errors, the same each time."""
    try:
        yield
    except StorageError:
        raise
    except (HTTPError, OSError, HangupException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("the volume of temporary files is full; give the pod more ephemeral storage") from None
        raise StoreUnreachable(f"{repository}: the server does not answer ({type(error).__name__})") from None
    except PackTooLarge as error:
        raise InvalidSource(f"{repository}: {error}") from None
    except GitProtocolError:
        raise InvalidSource(f"{repository}: the server does not speak git as it should") from None
    except Exception as error:  # noqa: BLE001 - bytes that anyone may have made break a library in any way
        raise InvalidSource(f"{repository}: cannot be read as a git repository ({type(error).__name__})") from None
