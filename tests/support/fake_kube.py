"""An API server in the test's own process, for faults that a real one cannot be made to show.

It keeps objects of any kind by path, numbers their versions, lists in pages, and watches with bookmarks. It has
no schemas, no admission and no server-side apply: an apply replaces the object.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

Manifest = dict[str, Any]
Answer = Callable[[web.Request], Any]


def failure(code: int, reason: str = "", message: str = "injected", **details: Any) -> Manifest:
    """A metav1.Status that says that a request failed."""
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


@dataclass
class Fault:
    """Answers the first `times` requests that it matches."""

    method: str
    path: str
    answer: Callable[[web.Request], Any]
    times: int


@dataclass
class FakeKube:
    """The server's state; see `serving`."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    history: list[tuple[int, str, Manifest]] = field(default_factory=list)
    version: int = 100
    oldest: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    watches: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    def put(self, collection: str, manifest: Manifest) -> Manifest:
        """Creates or replaces an object of a collection such as `/api/v1/namespaces/a/pods`."""
        path = f"{collection}/{manifest['metadata']['name']}"
        self.version += 1
        known = self.objects.get(path)
        uid = known["metadata"]["uid"] if known else f"uid-{self.version}"
        metadata = {"uid": uid, "generation": 1, **manifest["metadata"], "resourceVersion": str(self.version)}
        self.objects[path] = stored = {**manifest, "metadata": metadata}
        self._remember("MODIFIED" if known else "ADDED", stored)
        return stored

    def delete(self, path: str) -> None:
        """Deletes an object."""
        self.version += 1
        removed = self.objects.pop(path)
        metadata = {**removed["metadata"], "resourceVersion": str(self.version)}
        self._remember("DELETED", {**removed, "metadata": metadata})

    def forget_history(self) -> None:
        """Makes watches from before now answer 410, and ends those that are open."""
        self.oldest = self.version
        self.cut_watches()

    def cut_watches(self) -> None:
        """Ends open watches without a word."""
        self.watches += 1
        self._wake()

    def fail(self, method: str, path: str, answer: int | Callable[[web.Request], Any], *, times: int = 1) -> None:
        """Answers the next requests with a status, or as a function says, whose path contains `path`."""
        if isinstance(answer, int):
            code = answer
            answer = lambda _: web.json_response(failure(code), status=code)  # noqa: E731 - shorter
        self.faults.append(Fault(method, path, answer, times))

    def _remember(self, type_: str, manifest: Manifest) -> None:
        self.history.append((self.version, type_, manifest))
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        for fault in self.faults:
            if fault.times and fault.method == request.method and fault.path in request.path_qs:
                fault.times -= 1
                answer = fault.answer(request)
                return await answer if asyncio.iscoroutine(answer) else answer  # type: ignore[no-any-return]
        if request.method == "GET":
            return await self._read(request)
        return await self._write(request)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        if found := self.objects.get(request.path):
            return web.json_response(found)
        last = request.path.rsplit("/", 1)[1]
        if not last.endswith("s"):
            return web.json_response(failure(404, "NotFound"), status=404)
        if request.query.get("watch"):
            return await self._watch(request)
        items = [item for path, item in sorted(self.objects.items()) if path.startswith(f"{request.path}/")]
        begin = int(request.query.get("continue", "0"))
        end = begin + int(request.query.get("limit") or len(items))
        metadata = {"resourceVersion": str(self.version), "continue": str(end) if end < len(items) else ""}
        bare = [{key: value for key, value in item.items() if key not in {"kind", "apiVersion"}} for item in items]
        return web.json_response({"kind": "List", "metadata": metadata, "items": bare[begin:end]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        seen = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if seen < self.oldest:
            await _send(response, "ERROR", failure(410, "Expired"))
            return response
        opened = self.watches
        while opened == self.watches:
            changed = self.changed
            for version, type_, manifest in list(self.history):
                if version > seen:
                    await _send(response, type_, manifest)
                    seen = version
            await changed.wait()
        return response

    async def _write(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        if request.method == "DELETE":
            if request.path not in self.objects:
                return web.json_response(failure(404, "NotFound"), status=404)
            self.delete(request.path)
            return web.json_response({"kind": "Status", "status": "Success"})
        collection = request.path
        if request.method != "POST":
            collection = request.path.removesuffix("/status").rsplit("/", 1)[0]
        path = f"{collection}/{body['metadata']['name']}"
        if request.method == "POST" and path in self.objects:
            return web.json_response(failure(409, "AlreadyExists"), status=409)
        known = self.objects.get(path, {})
        if request.path.endswith("/status"):
            body = {**known, "status": body["status"]}
        wanted = body["metadata"].get("resourceVersion")
        if known and request.method == "PUT" and wanted != known["metadata"]["resourceVersion"]:
            return web.json_response(failure(409, "Conflict"), status=409)
        return web.json_response(self.put(collection, body))


async def _send(response: web.StreamResponse, type_: str, manifest: Manifest) -> None:
    await response.write(json.dumps({"type": type_, "object": manifest}).encode() + b"\n")


def write_kubeconfig(path: Path, server: str) -> Path:
    """A kubeconfig for a server that asks for no credentials."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@asynccontextmanager
async def serving() -> AsyncIterator[FakeKube]:
    """A running fake server."""
    fake = FakeKube()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        fake.cut_watches()
        await runner.cleanup()
