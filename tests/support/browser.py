"""Chromium, driven over the WebDriver protocol: how a page looks and what it says on its console."""

import base64
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.cluster.machine import install_packages
from tests.support.s3 import free_port
from tests.support.waiting import wait_until

DRIVER, PACKAGE = "chromedriver", "chromium-driver"
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """One tab."""

    def __init__(self, base: str, session: str) -> None:
        self._session = f"{base}/session/{session}"

    def show(self, page: Path, *, width: int, dark: bool) -> None:
        """Load a file as on a screen of this width."""
        self._cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])
        _call(f"{self._session}/url", {"url": page.as_uri()})

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return _call(f"{self._session}/execute/sync", {"script": f"return {expression}", "args": []})

    def console(self) -> list[str]:
        """Return what was written to the console since the last time, refusals of the page's policy included."""
        return [entry["message"] for entry in _call(f"{self._session}/se/log", {"type": "browser"})]

    def screenshot(self) -> bytes:
        """Return the whole page as PNG."""
        found = self._cdp("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return _call(f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser and stop it; installs it where it is missing."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    install_packages(print, {DRIVER: PACKAGE})
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: _is_ready(base), seconds=20, what="the browser's driver")
            options = {"args": [*_ARGUMENTS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = _call(f"{base}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            yield Browser(base, session)
            _call(f"{base}/session/{session}", method="DELETE")
        finally:
            driver.terminate()
            driver.wait(20)


def _is_ready(base: str) -> bool:
    try:
        return bool(_call(f"{base}/status")["ready"])
    except OSError:
        return False


def _call(url: str, body: Any = None, *, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own driver
        return json.load(answer)["value"]
