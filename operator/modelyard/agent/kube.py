"""The few calls that the agent makes to the Kubernetes API: list, watch and server-side apply in one namespace."""

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp

from modelyard.agent.settings import ACCOUNT_FOLDER
from modelyard.api.v1alpha1.names import AGENT_FIELD_MANAGER, GROUP, VERSION

T = TypeVar("T")

PAGE: Final = 500
WATCH_SECONDS: Final = 240
_SILENCE_SECONDS: Final = WATCH_SECONDS + 60
_REQUEST_SECONDS: Final = 30
_FAREWELL_SECONDS: Final = 5.0
_MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
_TOKEN_SECONDS: Final = 60.0


class ApiError(Exception):
    """The API server refused a request, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ServiceAccountToken:
    """The pod's token; the kubelet rotates the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = -_TOKEN_SECONDS

    def __call__(self) -> str:
        """Return the token, at most a minute old."""
        if time.monotonic() - self._read_at >= _TOKEN_SECONDS:
            self._token = self._path.read_text(encoding="ascii").strip()
            self._read_at = time.monotonic()
        return self._token


@dataclass(frozen=True)
class Page:
    """A complete list of one resource."""

    items: list[dict[str, Any]]
    resource_version: str


class Kube:
    """A client of one namespace. Use with `async with`."""

    def __init__(
        self, server: str, namespace: str, *, tls: ssl.SSLContext, token: ServiceAccountToken | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            server: URL of the API server.
            namespace: the only one that is spoken of.
            tls: whom to trust, and the client certificate if there is one.
            token: who we are, when it is not a client certificate.
        """
        self._base = f"{server.rstrip('/')}/apis/{GROUP}/{VERSION}/namespaces/{namespace}"
        self._tls = tls
        self._token = token
        self._calls: set[asyncio.Task[Any]] = set()

    @classmethod
    def in_cluster(cls, namespace: str) -> "Kube":
        """Return the client of the pod's own ServiceAccount."""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        tls = ssl.create_default_context(cafile=str(ACCOUNT_FOLDER / "ca.crt"))
        return cls(f"https://{host}:{port}", namespace, tls=tls, token=ServiceAccountToken(ACCOUNT_FOLDER / "token"))

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls), timeout=timeout, read_bufsize=_MAX_EVENT_BYTES
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._calls:
            answered, late = await asyncio.wait(self._calls, timeout=_FAREWELL_SECONDS)
            for call in late:
                call.cancel()
            for call in answered:
                if call.exception() is None and isinstance(call.result(), aiohttp.ClientResponse):
                    _hang_up(call.result())
        await self._session.close()

    async def list(self, plural: str) -> Page:
        """Return all objects of a resource, read page by page."""
        items: list[dict[str, Any]] = []
        query = {"limit": str(PAGE)}
        while True:
            body = await self._json("GET", plural, query)
            items += body.get("items", ())
            if not (token := body["metadata"].get("continue")):
                return Page(items, body["metadata"]["resourceVersion"])
            query["continue"] = token

    async def watch(self, plural: str, resource_version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield (type, object) of changes since a version, for at most WATCH_SECONDS.

        Raises:
            ApiError: status 410 when the version is too old.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": resource_version,
        }
        timeout = aiohttp.ClientTimeout(total=_SILENCE_SECONDS, sock_connect=_REQUEST_SECONDS)
        request = self._session.get(f"{self._base}/{plural}", params=query, headers=self._headers(), timeout=timeout)
        try:
            response = await self._finish(request)
            try:
                await _require_success(response)
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 0), event["object"].get("message", ""))
                    yield event["type"], event["object"]
            finally:
                _hang_up(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(0, f"watch of {plural}: {type(error).__name__}: {error}") from None

    async def apply(self, plural: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Apply an object server-side and return what the server keeps."""
        name = manifest["metadata"]["name"]
        query = {"fieldManager": AGENT_FIELD_MANAGER, "force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return await self._json("PATCH", f"{plural}/{name}", query, json.dumps(manifest).encode(), headers)

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return await self._finish(self._call(method, path, query, data, headers or {}))

    async def _finish(self, call: Awaitable[T]) -> T:
        """Let a call end even when its caller is cancelled: a connection that is dropped in the middle lingers."""
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None,
        headers: Mapping[str, str],
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method, f"{self._base}/{path}", params=query, data=data, headers={**self._headers(), **headers}
            ) as response:
                await _require_success(response)
                body: dict[str, Any] = await response.json()
                return body
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(0, f"{method} {path}: {type(error).__name__}: {error}") from None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "modelyard-agent"}
        return {**headers, "Authorization": f"Bearer {self._token()}"} if self._token else headers


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """End a connection at once: a farewell by TLS would outlive the one who waits for it."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


async def _require_success(response: aiohttp.ClientResponse) -> None:
    if not response.ok:
        try:
            message = json.loads(await response.read())["message"]
        except (ValueError, KeyError, TypeError):
            message = response.reason or ""
        raise ApiError(response.status, f"{response.method} {response.url.path}: {response.status} {message}")
