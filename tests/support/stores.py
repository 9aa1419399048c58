"""A store in memory, for faults that a real server does not show on demand."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from modelyard.storage.errors import AlreadyExists, ObjectNotFound, StoreUnreachable
from modelyard.storage.objects import ObjectInfo


class MemoryStore:
    """Implements modelyard.storage.objects.Store."""

    def __init__(self, *, honours_create_only: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.versions: dict[tuple[str, str], bytes] = {}
        self.writes: list[str] = []
        self.honours_create_only = honours_create_only
        self.frozen = False
        """Whether objects seem to be written only when their bytes change."""
        self.outages = 0
        """How many of the next calls find the store down."""
        self.after_put: Callable[[str], None] = lambda _: None

    def url(self, path: str) -> str:
        return f"s3://memory/{path}"

    def head(self, path: str) -> ObjectInfo:
        return ObjectInfo(path, len(self._read(path)), f"etag-{hash(self._read(path))}", None, self._now())

    def get(self, path: str, version: str | None = None) -> Iterator[bytes]:
        data = self._read(path) if version is None else self.versions[path, version]
        yield from (data[start : start + 7] for start in range(0, len(data), 7))

    def put(self, path: str, data: bytes) -> None:
        self._fail_if_down()
        self.objects[path] = data
        self.writes.append(path)
        self.after_put(path)

    def put_if_absent(self, path: str, data: bytes) -> None:
        self._fail_if_down()
        if self.honours_create_only and path in self.objects:
            raise AlreadyExists(path)
        self.put(path, data)

    def delete(self, path: str) -> None:
        self._fail_if_down()
        self.objects.pop(path, None)

    def list(self) -> Iterator[ObjectInfo]:
        return iter([self.head(path) for path in sorted(self.objects)])

    def _read(self, path: str) -> bytes:
        self._fail_if_down()
        if path not in self.objects:
            raise ObjectNotFound(path)
        return self.objects[path]

    def _now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) if self.frozen else datetime.now(UTC)

    def _fail_if_down(self) -> None:
        if self.outages:
            self.outages -= 1
            raise StoreUnreachable("down")
