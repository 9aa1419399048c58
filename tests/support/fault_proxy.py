"""A proxy in front of a real API server, which fails chosen calls; runs in a thread of its own.

with FaultProxy(control_plane, tmp_path) as proxy:
    proxy.fail("POST", r"/jobs$", 500, nth=2)
    ... MODELYARD_KUBECONFIG=proxy.kubeconfig ...
    assert proxy.injected == 1
"""

import asyncio
import re
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.controlplane import ClusterAccess
from tests.support.fake_kube import failure, write_kubeconfig

Fault = int | Literal["dropped", "lost", "silent"]
"""An HTTP status; or the connection is closed before (`dropped`) or after (`lost`) the server did what was
asked; or there is no answer at all until the client gives up (`silent`)."""

_REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
_HOP_HEADERS = {"host", "connection", "transfer-encoding", "content-length"}


@dataclass
class _Rule:
    method: str
    path: re.Pattern[str]
    fault: Fault
    nth: int
    times: int
    seen: int = 0

    def applies(self, method: str, path: str) -> bool:
        if self.method not in {"*", method} or not self.path.search(path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


@dataclass
class _OncePerCall:
    fault: Fault
    methods: frozenset[str]
    path: re.Pattern[str]
    seen: set[tuple[str, str]]

    def applies(self, method: str, path: str) -> bool:
        call = (method, path)
        if method not in self.methods or not self.path.search(path) or call in self.seen:
            return False
        self.seen.add(call)
        return True


_CLOSING_TURNS = 20
"""Turns of the loop in which sockets of TLS connections close; aiohttp does not say when they have."""


class FaultProxy:
    """Forwards to the API server of `plane` with its administrator's certificate.

    Attributes:
        kubeconfig: for clients of the proxy.
        calls: method and path of every request so far.
        injected: how many of them were made to fail.
    """

    def __init__(self, plane: ClusterAccess, folder: Path) -> None:
        self.calls: list[tuple[str, str]] = []
        self.injected = 0
        self.kubeconfig = folder / "proxy-kubeconfig"
        self._plane = plane
        self._rules: list[_Rule | _OncePerCall] = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._watches: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(timeout=10)
        write_kubeconfig(self.kubeconfig, f"http://127.0.0.1:{port}")
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.run_until_complete(_end_tasks())
        self._loop.close()

    def fail(self, method: str, path: str, fault: Fault, *, nth: int = 1, times: int = 1) -> None:
        """Makes calls fail, from the `nth` matching one on.

        Args:
            method: `GET`, `POST`, …, or `*`.
            path: a regular expression that is searched for in the path with its query.
            fault: how they fail.
            nth: the first one that fails, from 1.
            times: how many in a row fail.
        """
        with self._lock:
            self._rules.append(_Rule(method, re.compile(path), fault, nth, times))

    def fail_each_once(
        self, fault: Fault, *, methods: tuple[str, ...] = ("POST", "PUT", "PATCH", "DELETE"), path: str = ""
    ) -> None:
        """Makes the first call of each method and path fail."""
        with self._lock:
            self._rules.append(_OncePerCall(fault, frozenset(methods), re.compile(path), set()))

    def heal(self) -> None:
        """Forgets all faults."""
        with self._lock:
            self._rules.clear()

    def cut_watches(self) -> None:
        """Closes all open watches."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._watches])

    async def _start(self) -> int:
        context = ssl.create_default_context(cafile=self._plane.certificate_authority)
        context.load_cert_chain(self._plane.client_certificate, self._plane.client_key)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0), auto_decompress=False
        )
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def _fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.calls.append((method, path))
            fault = next((rule.fault for rule in self._rules if rule.applies(method, path)), None)
            self.injected += fault is not None
            return fault

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault = self._fault_for(request.method, request.path_qs)
        if isinstance(fault, int):
            body = failure(fault, _REASONS.get(fault, "Unknown"))
            return web.json_response(body, status=fault, headers={"Retry-After": "1"} if fault == 429 else None)
        if fault == "silent":
            await asyncio.sleep(3600)
        if fault == "dropped":
            return _close(request)
        return await self._forward(request, is_lost=fault == "lost")

    async def _forward(self, request: web.Request, *, is_lost: bool) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_HEADERS}
        url = URL(f"{self._plane.server}{request.raw_path}", encoded=True)
        body = await request.read() or None  # an empty body would be given a content type
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(request.method, url, data=body, headers=headers, timeout=timeout) as answer:
            if is_lost:
                await answer.read()
                return _close(request)
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP_HEADERS}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            if request.query.get("watch"):
                await self._relay_watch(request, response, answer)
            else:
                await response.write(await answer.read())
            return response

    async def _relay_watch(
        self, request: web.Request, response: web.StreamResponse, answer: aiohttp.ClientResponse
    ) -> None:
        async def relay() -> None:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)

        task = asyncio.create_task(relay())
        self._watches.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._watches.discard(task)
            task.cancel()
        if request.transport:
            request.transport.close()


async def _end_tasks() -> None:
    """Ends what is left of cut connections, so that nothing of them is found by the garbage collector."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(_CLOSING_TURNS):
        await asyncio.sleep(0.01)


def _close(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.close()
    return web.Response()
