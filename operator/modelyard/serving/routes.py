"""The exact table of what the server answers under which path; `openapi` describes the same table."""

from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from modelyard.serving.messages import Response, problem


class Endpoint(Enum):
    """An endpoint; the value is its label in metrics."""

    LIVE = "live"
    READY = "ready"
    SERVER_METADATA = "server_metadata"
    MODEL_METADATA = "model_metadata"
    MODEL_READY = "model_ready"
    INFER = "infer"
    OPENAPI = "openapi"

    def allows(self, method: bytes) -> bool:
        """Whether the endpoint takes this HTTP method."""
        return method == b"POST" if self is Endpoint.INFER else method in {b"GET", b"HEAD"}


_SERVER: Final = {
    "/v2": Endpoint.SERVER_METADATA,
    "/v2/": Endpoint.SERVER_METADATA,
    "/v2/health/live": Endpoint.LIVE,
    "/v2/health/ready": Endpoint.READY,
    "/openapi.json": Endpoint.OPENAPI,
}
_MODEL: Final = {"": Endpoint.MODEL_METADATA, "/ready": Endpoint.MODEL_READY, "/infer": Endpoint.INFER}


def paths(model: str, version: str) -> dict[str, Endpoint]:
    """Return the endpoint of every path of a server with one version of one model."""
    base = f"/v2/models/{model}"
    bases = (base, f"{base}/versions/{version}")
    return _SERVER | {prefix + suffix: endpoint for prefix in bases for suffix, endpoint in _MODEL.items()}


class Routes:
    """The routes of a server with one version of one model."""

    def __init__(self, model: str, version: str) -> None:
        self._model, self._version = model, version
        self._table = {path.encode(): endpoint for path, endpoint in paths(model, version).items()}

    def find(self, target: bytes) -> Endpoint | None:
        """Return the endpoint of a request target; the query and, in a proxy's form, the host are ignored."""
        endpoint = self._table.get(target)
        return endpoint or self._table.get(_path(target))

    def refuse(self, endpoint: Endpoint | None, target: bytes) -> Response:
        """Answer a request that no endpoint takes, or not with its method."""
        if endpoint is None:
            return problem(404, self._missing(_path(target)))
        allowed = "POST" if endpoint is Endpoint.INFER else "GET, HEAD"
        return problem(405, f"only {allowed} is allowed here", f"Allow: {allowed}\r\n".encode())

    def _missing(self, path: bytes) -> str:
        if path.startswith(b"/v2/models/"):
            return f"not found: the only model here is '{self._model}', version '{self._version}'"
        return "not found: the endpoints are those of the Open Inference Protocol, under /v2, and /openapi.json"


def _path(target: bytes) -> bytes:
    try:
        return urlsplit(target).path
    except ValueError:
        return b""
