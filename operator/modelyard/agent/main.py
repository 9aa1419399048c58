"""The agent's process."""

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Final

from modelyard.agent.health import serve_health
from modelyard.agent.kube import Kube
from modelyard.agent.lookout import Lookout
from modelyard.agent.metrics import Metrics
from modelyard.agent.settings import Settings, SettingsError, load_settings
from modelyard.agent.watcher import Watcher

_CREDENTIAL_CHECKS: Final = 4
_FAREWELL_SECONDS: Final = 10.0
_LOG: Final = logging.getLogger(__name__)


def main() -> None:
    """Run until SIGTERM or SIGINT, then end the process at once: nothing is left half done."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(str(error))
    asyncio.run(_run_until_told(settings))


async def run_agent(kube: Kube, settings: Settings, metrics: Metrics) -> None:
    """Observe one namespace until cancelled, or until the store's credentials must be read again."""
    lookout = Lookout(settings.store_uri) if settings.store_uri else None
    async with kube:
        watcher = Watcher(kube, settings, metrics, lookout)
        runner = await serve_health(settings.port, lambda: watcher.ready, metrics.registry)
        watching = asyncio.create_task(watcher.run())
        refused = asyncio.create_task(_credentials_refused(lookout, settings.credentials_seconds))
        try:
            await asyncio.wait([watching, refused], return_when=asyncio.FIRST_COMPLETED)
        finally:
            refused.cancel()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await runner.cleanup()


async def _credentials_refused(lookout: Lookout | None, seconds: float) -> None:
    """Return when the credentials were refused for this long.

    They come from the Secret as environment variables, which are what they were when the container was started: only
    a new start brings what the Secret says by now.
    """
    since = time.monotonic()
    while time.monotonic() - since < seconds:
        if lookout is not None and not await asyncio.to_thread(lookout.refuses_us):
            since = time.monotonic()
        await asyncio.sleep(seconds / _CREDENTIAL_CHECKS)
    _LOG.warning(
        "no usable credentials of the store for %.0f s; ending, to be started with those of the Secret", seconds
    )


async def _run_until_told(settings: Settings) -> None:
    agent = asyncio.create_task(run_agent(Kube.in_cluster(settings.namespace), settings, Metrics()))
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await asyncio.wait([agent, asyncio.create_task(told.wait())], return_when=asyncio.FIRST_COMPLETED)
    failure = agent.exception() if agent.done() else None
    if failure is not None:
        _LOG.error("the agent failed", exc_info=failure)
    agent.cancel()
    await asyncio.wait([agent], timeout=_FAREWELL_SECONDS)
    logging.shutdown()
    # A thread may still be reading gigabytes, and an orderly exit would wait for it.
    os._exit(0 if failure is None else 1)
