"""The operator's own HTTP server: /livez, /readyz and /metrics."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from modelyard.controller.engine.metrics import Metrics

logger = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Says what is wrong, or None when nothing is."""


class Health:
    """Answers probes from checks that were registered, and metrics from a registry.

    Args:
        registry: whose metrics are served.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._alive: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._runner: web.AppRunner | None = None

    def add_liveness(self, name: str, check: Check) -> None:
        """Makes /livez fail while `check` finds something wrong that a restart would mend."""
        self._alive[name] = check

    def add_readiness(self, name: str, check: Check) -> None:
        """Makes /readyz fail while `check` finds something missing."""
        self._ready[name] = check

    async def start(self, address: str, port: int) -> int:
        """Starts to serve; returns the port, which is another one if `port` is 0.

        Raises:
            OSError: the port is in use.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", _handler(self._alive)),
                web.get("/readyz", _handler(self._ready)),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Ends serving."""
        if self._runner:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _handler(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        faults = [f"{name}: {fault}\n" for name, check in checks.items() if (fault := check())]
        return web.Response(status=503, text="".join(faults)) if faults else web.Response(text="ok\n")

    return handle


def deafness(silence: float, limit: float) -> str | None:
    """What is wrong when a watch has been silent for more than `limit` seconds."""
    return f"nothing heard for {silence:.0f} s" if silence > limit else None


def stuckness(longest: float, limit: float) -> str | None:
    """What is wrong when a pass has been running for more than `limit` seconds."""
    return f"a pass has been running for {longest:.0f} s" if longest > limit else None


class Pulse:
    """Measures how late the event loop is.

    Args:
        metrics: where it is shown.
        interval: seconds between two measurements.
    """

    def __init__(self, metrics: Metrics, *, interval: float = 1.0) -> None:
        self._metrics = metrics
        self._interval = interval

    async def run(self) -> NoReturn:
        """Measures until cancelled."""
        while True:
            due = time.monotonic() + self._interval
            await asyncio.sleep(self._interval)
            self._metrics.loop_lag.set(max(0.0, time.monotonic() - due))
