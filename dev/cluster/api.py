"""The few API calls that the cluster's own start needs."""

import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster.certificates import KeyPair
from dev.cluster.errors import ClusterError

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Api:
    """An API server and the credentials to talk to it."""

    server: str
    authority: Path
    client: KeyPair

    def get(self, path: str) -> Any:
        """Read a path; None if there is no such object."""
        return self._call("GET", path)

    def patch(self, path: str, body: object) -> Any:
        """Merge-patch an object."""
        return self._call("PATCH", path, body, "application/merge-patch+json")

    def answers(self, path: str) -> bool:
        """Whether a path answers 200 just now."""
        try:
            return self._call("GET", path) is not None
        except OSError:
            return False

    def _call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Any:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.client.certificate, self.client.key)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - always https, from our own settings
            self.server + path, data, {"Content-Type": content_type}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:  # noqa: PLR2004
                    return None
                raise
        return json.loads(text) if text.startswith("{") else text


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Poll a condition until it holds; an answer that could not be had counts as "not yet".

    Raises:
        ClusterError: it did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise ClusterError(f"gave up after {seconds:.0f} s waiting for {what}")
        time.sleep(_POLL_SECONDS)
