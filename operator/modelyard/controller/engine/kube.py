"""A thin transport to the Kubernetes API: dictionaries in, dictionaries out, one error class."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from modelyard.controller.engine.credentials import Credentials
from modelyard.controller.engine.manifests import (
    Manifest,
    Ref,
    ResourceType,
    TypeTable,
    name_of,
    namespace_of,
)

Verb = Literal["get", "list", "watch", "create", "update", "apply", "delete"]

PAGE_LIMIT = 500
CONNECTION_LIMIT = 64
TIMEOUT_REASON = "NoAnswer"
USER_AGENT = "modelyard-operator"

_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
_TEXT_LIMIT = 512


class ApiError(Exception):
    """The API server refused, failed or did not answer.

    Attributes:
        status: the HTTP status; 0 when there was no answer.
        reason: the machine-readable reason, such as `AlreadyExists`.
        message: what the server says, for people.
        retry_after: seconds that the server asks to wait.
        causes: the reasons of the details, such as `NamespaceTerminating`.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after: float | None = None,
        causes: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = causes

    @classmethod
    def of_status(cls, status: Mapping[str, Any], code: int = 0, retry_after: float | None = None) -> Self:
        """The error that a metav1.Status describes."""
        details = status.get("details") or {}
        seconds = details.get("retryAfterSeconds")
        return cls(
            int(status.get("code") or code),
            str(status.get("reason") or "Unknown"),
            str(status.get("message") or ""),
            retry_after=retry_after if seconds is None else float(seconds),
            causes=frozenset(str(cause.get("reason")) for cause in details.get("causes") or ()),
        )

    @property
    def not_found(self) -> bool:
        """The object, its kind or its namespace is not there."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """The object exists already, or is not as the request expects."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def gone(self) -> bool:
        """The resource version is too old to go on from."""
        return self.status == HTTPStatus.GONE

    @property
    def silent(self) -> bool:
        """The server did not answer in time, or a watch fell silent."""
        return self.reason == TIMEOUT_REASON

    @property
    def invalid(self) -> bool:
        """The object is not valid, and will not be in a second try."""
        return self.status in {400, 405, 413, 415, 422}

    @property
    def forbidden(self) -> bool:
        """We may not do this: access control, policy or quota."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def terminating(self) -> bool:
        """The namespace is being deleted, so nothing can be created in it."""
        return self.forbidden and "NamespaceTerminating" in self.causes

    @property
    def transient(self) -> bool:
        """A later try may succeed: no answer, throttled, or a fault of the server."""
        return self.status in {0, 401, 408, 429} or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class Page(NamedTuple):
    """One page of a list, and the resource version of the list as a whole."""

    items: list[Manifest]
    resource_version: str


class WatchEvent(NamedTuple):
    """One line of a watch; of a BOOKMARK only the resource version counts."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    manifest: Manifest


@dataclass(frozen=True)
class Request:
    """What the transport did, for metrics: `code` 0 is no answer."""

    verb: Verb
    method: str
    resource: str
    code: int
    seconds: float


class KubeClient:
    """Calls of the API. Use as an async context manager, or call `close`.

    Args:
        credentials: server and identity.
        types: the kinds that manifests and references may have.
        timeout: seconds for one call, watches aside.
        on_request: is told of every answered or failed call.
    """

    def __init__(
        self,
        credentials: Credentials,
        types: TypeTable,
        *,
        timeout: float = 30.0,
        on_request: Callable[[Request], None] = lambda _: None,
    ) -> None:
        self._credentials = credentials
        self.types = types
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=10)
        self._on_request = on_request
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all connections."""
        if self._session:
            await self._session.close()
            self._session = None

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        """One object as it is now.

        Raises:
            ApiError: it is not there (`not_found`), or the call failed.
        """
        return await self._call("get", "GET", resource, _path(resource, namespace, name))

    async def list_pages(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        limit: int = PAGE_LIMIT,
    ) -> AsyncIterator[Page]:
        """All objects of a kind, page by page; `limit` 0 asks for one page.

        Raises:
            ApiError: a page could not be had; `gone` when the list took too long to go on.
        """
        query = {"labelSelector": label_selector, "limit": str(limit or ""), "continue": ""}
        while True:
            answer = await self._call("list", "GET", resource, _path(resource, namespace), query=query)
            for item in answer["items"]:
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            yield Page(answer["items"], answer["metadata"]["resourceVersion"])
            query["continue"] = answer["metadata"].get("continue") or ""
            if not query["continue"]:
                return

    async def watch(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        server_timeout: float = 300.0,
        inactivity_timeout: float = 150.0,
    ) -> AsyncIterator[WatchEvent]:
        """Changes since a resource version, bookmarks among them, until the server ends the watch.

        Args:
            resource: the kind.
            namespace: one namespace, all when None.
            resource_version: where to go on.
            label_selector: which objects.
            server_timeout: seconds after which the server ends the watch.
            inactivity_timeout: seconds of silence after which the connection is taken for dead.

        Raises:
            ApiError: `gone` when the version is too old; otherwise the watch failed, or fell silent.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "timeoutSeconds": str(int(server_timeout)),
        }
        limits = aiohttp.ClientTimeout(sock_connect=10, sock_read=inactivity_timeout)
        response = await self._send("watch", "GET", resource, _path(resource, namespace), query=query, limits=limits)
        try:
            async for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError.of_status(event["object"])
                yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _no_answer(error) from error
        finally:
            response.close()

    async def create(self, manifest: Manifest, *, field_manager: str) -> Manifest:
        """Creates an object.

        Raises:
            ApiError: one of this name exists (`conflict`), or the call failed.
        """
        resource = self.types.of_manifest(manifest)
        path = _path(resource, namespace_of(manifest))
        query = {"fieldManager": field_manager}
        return await self._call("create", "POST", resource, path, query=query, body=manifest)

    async def update(self, manifest: Manifest, *, field_manager: str) -> Manifest:
        """Replaces an object; `metadata.resourceVersion` says which version of it.

        Raises:
            ApiError: it is of another version (`conflict`), or the call failed.
        """
        resource = self.types.of_manifest(manifest)
        path = _path(resource, namespace_of(manifest), name_of(manifest))
        query = {"fieldManager": field_manager}
        return await self._call("update", "PUT", resource, path, query=query, body=manifest)

    async def apply(self, manifest: Manifest, *, field_manager: str, subresource: str = "") -> Manifest:
        """Server-side applies an object, taking over the fields of other managers.

        Args:
            manifest: every field that `field_manager` wants to own, nothing else; what it owned and is
                not in here is removed. `metadata.uid` and `metadata.resourceVersion` are preconditions.
            field_manager: in whose name.
            subresource: `status`, or empty for the object itself.

        Raises:
            ApiError: a precondition does not hold (`conflict`), or the call failed.
        """
        resource = self.types.of_manifest(manifest)
        path = _path(resource, namespace_of(manifest), name_of(manifest), subresource)
        query = {"fieldManager": field_manager, "force": "true"}
        return await self._call("apply", "PATCH", resource, path, query=query, body=manifest, content_type=_APPLY)

    async def delete(self, ref: Ref, *, propagation: str = "Background") -> Manifest:
        """Deletes an object, the one with `ref.uid` if that is given.

        Returns:
            The object, when finalizers keep it for now, or a Status.

        Raises:
            ApiError: it is not there (`not_found`), has another uid (`conflict`), or the call failed.
        """
        resource = self.types.lookup(ref.api_version, ref.kind)
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if ref.uid:
            options["preconditions"] = {"uid": ref.uid}
        path = _path(resource, ref.namespace, ref.name)
        return await self._call("delete", "DELETE", resource, path, body=options)

    async def _call(
        self,
        verb: Verb,
        method: str,
        resource: ResourceType,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
    ) -> Manifest:
        response = await self._send(verb, method, resource, path, query=query, body=body, content_type=content_type)
        try:
            async with response:
                answer: Manifest = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _no_answer(error) from error
        return answer

    async def _send(
        self,
        verb: Verb,
        method: str,
        resource: ResourceType,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        options = urlencode({key: value for key, value in (query or {}).items() if value})
        url = URL(f"{self._credentials.server}{path}{'?' if options else ''}{options}", encoded=True)
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()

        async def attempt() -> aiohttp.ClientResponse:
            return await self._open_session().request(
                method,
                url,
                data=data,
                headers=await self._headers(content_type if data else None),
                proxy=self._credentials.proxy,
                timeout=limits or self._timeout,
            )

        try:
            return await self._observed(attempt, verb, method, resource)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        await self._credentials.reload()
        return await self._observed(attempt, verb, method, resource)

    async def _observed(
        self,
        attempt: Callable[[], Awaitable[aiohttp.ClientResponse]],
        verb: Verb,
        method: str,
        resource: ResourceType,
    ) -> aiohttp.ClientResponse:
        started = time.perf_counter()
        code = 0
        try:
            response = await attempt()
            code = response.status
            if code >= HTTPStatus.BAD_REQUEST:
                raise await _error_of(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_answer(error) from error
        finally:
            seconds = time.perf_counter() - started
            self._on_request(Request(verb, method, resource.plural, code, seconds))
        return response

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._credentials.ssl_context(), limit=CONNECTION_LIMIT)
            self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": USER_AGENT})
        return self._session

    async def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": _JSON}
        if content_type:
            headers["Content-Type"] = content_type
        if authorization := await self._credentials.authorization():
            headers["Authorization"] = authorization
        return headers


def _path(resource: ResourceType, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
    """The path of a collection (`name` None) or object; an empty or relative segment is refused."""
    prefix = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    if resource.namespaced and namespace is not None:
        prefix += f"/namespaces/{_segment(namespace)}"
    prefix += f"/{resource.plural}"
    if name is not None:
        prefix += f"/{_segment(name)}"
    return f"{prefix}/{subresource}" if subresource else prefix


def _segment(text: str) -> str:
    if text in {"", ".", ".."}:
        raise ValueError(f"a name or namespace must not be empty or relative, got '{text}'")
    return quote(text, safe="")


async def _error_of(response: aiohttp.ClientResponse) -> ApiError:
    async with response:
        body = await response.read()
    try:
        status = json.loads(body)
    except ValueError:
        status = {"message": body[:_TEXT_LIMIT].decode(errors="replace"), "reason": response.reason}
    seconds = response.headers.get("Retry-After", "")
    retry_after = float(seconds) if seconds.isascii() and seconds.isdigit() else None
    return ApiError.of_status(status if isinstance(status, dict) else {}, response.status, retry_after)


def _no_answer(error: Exception) -> ApiError:
    reason = TIMEOUT_REASON if isinstance(error, TimeoutError) else "ConnectionFailed"
    return ApiError(0, reason, str(error) or type(error).__name__)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a body, however long they are."""
    pieces: list[bytes] = []
    async for chunk in response.content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            pieces.append(end)
            if line := b"".join(pieces):
                yield line
            pieces = []
        pieces.append(rest)
