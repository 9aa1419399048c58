"""The application behind the metrics port."""

from collections.abc import Callable
from urllib.parse import urlsplit

from typing_extensions import override

from modelyard.serving.http import Application
from modelyard.serving.messages import Request, Respond, Response, problem

Render = Callable[[str], tuple[bytes, str]]


class Admin(Application):
    """Answers `GET /metrics`.

    Args:
        render: From an `Accept` header to a page and its content type.
    """

    def __init__(self, render: Render) -> None:
        self._render = render

    @override
    def observe(self, target: bytes, status: int, seconds: float) -> None:
        """Scrapes are not counted."""

    @override
    def answer(self, request: Request, respond: Respond) -> None:
        if urlsplit(request.target).path != b"/metrics":
            respond(problem(404, "not found: only /metrics is here"))
        elif request.method not in {b"GET", b"HEAD"}:
            respond(problem(405, "only GET, HEAD is allowed here", b"Allow: GET, HEAD\r\n"))
        else:
            page, content_type = self._render(request.headers.get(b"accept", b"").decode("latin-1"))
            respond(Response(200, page, content_type.encode()))
