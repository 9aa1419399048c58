"""The application behind the metrics port."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from modelyard.serving.http import Application
from modelyard.serving.messages import Request, Respond, Response, json_response, problem

Render = Callable[[str], tuple[bytes, str]]


class Admin(Application):
    """Answers `GET /metrics` and `GET /profile`.

    Args:
        render: From an `Accept` header to the page of metrics and its content type.
        profile: Returns the present model's profile, None when there is none.
    """

    def __init__(self, render: Render, profile: Callable[[], dict[str, Any] | None]) -> None:
        self._render = render
        self._profile = profile

    @override
    def observe(self, target: bytes, status: int, seconds: float) -> None:
        """Scrapes are not counted."""

    @override
    def answer(self, request: Request, respond: Respond) -> None:
        path = urlsplit(request.target).path
        if path not in {b"/metrics", b"/profile"}:
            respond(problem(404, "not found: only /metrics and /profile are here"))
        elif request.method not in {b"GET", b"HEAD"}:
            respond(problem(405, "only GET, HEAD is allowed here", b"Allow: GET, HEAD\r\n"))
        elif path == b"/profile":
            profile = self._profile()
            respond(
                json_response(profile) if profile else problem(404, "there is no profile: no model yet, or it is off")
            )
        else:
            page, content_type = self._render(request.headers.get(b"accept", b"").decode("latin-1"))
            respond(Response(200, page, content_type.encode()))
