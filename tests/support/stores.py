"""A store in memory, for faults that a real server does not show on demand."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from modelyard.storage.errors import AlreadyExists, ObjectNotFound, StoreUnreachable
from modelyard.storage.objects import ObjectInfo


class MemoryStore:
    """Implements modelyard.storage.objects.Store."""

    def __init__(self, *, honours_create_only: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.writes: list[str] = []
        self.honours_create_only = honours_create_only
        self.outages = 0
        """How many of the next calls find the store down."""
        self.after_put: Callable[[str], None] = lambda _: None

    def url(self, path: str) -> str:
        return f"s3://memory/{path}"

    def head(self, path: str) -> ObjectInfo:
        return ObjectInfo(path, len(self._read(path)), f"etag-{hash(self._read(path))}", None, datetime.now(UTC))

    def get(self, path: str) -> Iterator[bytes]:
        data = self._read(path)
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

    def list(self) -> Iterator[ObjectInfo]:
        return iter([self.head(path) for path in sorted(self.objects)])

    def _read(self, path: str) -> bytes:
        self._fail_if_down()
        if path not in self.objects:
            raise ObjectNotFound(path)
        return self.objects[path]

    def _fail_if_down(self) -> None:
        if self.outages:
            self.outages -= 1
            raise StoreUnreachable("down")
