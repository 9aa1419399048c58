"""The server from its start to its end: listen, load, serve, drain."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
import ssl
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Final

from modelyard.serving.admin import Admin
from modelyard.serving.errors import StartError
from modelyard.serving.exposition import Exposition
from modelyard.serving.http import Application, Connections
from modelyard.serving.limits import Limits
from modelyard.serving.loader import load_model
from modelyard.serving.metrics import Metrics
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.prediction_log_metrics import PredictionLogCollector
from modelyard.serving.reload import reload_when_asked
from modelyard.serving.service import Service
from modelyard.serving.settings import MIB, Settings
from modelyard.serving.tls import ExpiryCollector, Tls
from modelyard.serving.worker import Worker

if TYPE_CHECKING:
    from modelyard.serving.rpc.server import GrpcServer

FINISH_SECONDS: Final = 5.0
"""What the last answers get beyond the request timeout before they are cut off."""
_BACKLOG: Final = 1024
_GC_THRESHOLD: Final = 50_000
_ADMIN_LIMITS: Final = Limits(body_bytes=0, buffered_bytes=0, connections=64)

_log = logging.getLogger(__name__)


class Signals:
    """What SIGTERM and SIGINT ask for, the first one to drain, the second one to end at once; and SIGHUP: to reload."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        self.reload = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


class Listener:
    """A listening socket and its connections."""

    def __init__(self, server: asyncio.Server, connections: Connections) -> None:
        self._server = server
        self.connections = connections
        self.port: int = server.sockets[0].getsockname()[1]

    @classmethod
    async def open(
        cls, application: Application, limits: Limits, address: str, port: int, tls: ssl.SSLContext | None = None
    ) -> "Listener":
        """Listen on a port, of every address of the pod when `address` is empty.

        Raises:
            StartError: The port cannot be had.
        """
        loop = asyncio.get_running_loop()
        connections = Connections(application, limits, loop)
        try:
            server = await loop.create_server(
                connections,
                address or None,
                port,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=limits.handshake_seconds if tls else None,
                ssl_shutdown_timeout=limits.linger_seconds if tls else None,
            )
        except OSError as error:
            raise StartError("AddressUnavailable", f"cannot listen on port {port}: {error}") from None
        return cls(server, connections)

    async def close(self, seconds: float) -> None:
        """Stop listening and give the answers under way this long."""
        self._server.close()
        await self.connections.finish(seconds)


async def serve(settings: Settings) -> None:
    """Serve until a signal asks to stop, and the drain after it is over.

    Raises:
        StartError: The start cannot succeed.
    """
    loop = asyncio.get_running_loop()
    signals = Signals(loop)
    metrics, worker = Metrics(settings.objective_seconds), Worker(loop)
    log = PredictionLog.open(settings)
    service = Service(settings, metrics, worker, log)
    exposition = Exposition(metrics, settings, lambda: service.model)
    if log:
        exposition.register(PredictionLogCollector(log, settings))
    admin = Admin(exposition.render, service.profile_snapshot)
    tls = _read_tls(settings, exposition)
    http = await Listener.open(
        service, _limits(settings), settings.address, settings.http_port, tls.context if tls else None
    )
    scrapes = await Listener.open(admin, _ADMIN_LIMITS, settings.address, settings.metrics_port)
    grpc = _open_grpc(settings, service, tls)
    ports = {"http_port": http.port, "metrics_port": scrapes.port, "grpc_port": grpc.port if grpc else None}
    _log.info("listening", extra=ports)
    background = [asyncio.ensure_future(tls.watch())] if tls else []

    loading = worker.submit(partial(load_model, settings))
    if not await _done_before(signals.asked, loading):
        return
    service.serve(loading.result())
    if grpc:
        grpc.serve()
    _settle_memory()
    _log.info("ready", extra={"model": settings.model_name, "version": settings.model_version})
    background.append(asyncio.ensure_future(reload_when_asked(signals.reload, settings, service)))
    background.append(asyncio.ensure_future(service.tick_profile()))

    await signals.asked.wait()
    service.drain()
    http.connections.drain()
    if grpc:
        grpc.drain()
    _log.info("draining", extra={"seconds": settings.drain_seconds})
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(signals.insisted.wait(), settings.drain_seconds)
    seconds = settings.timeout_seconds + FINISH_SECONDS
    closing = [listener.close(seconds) for listener in (http, grpc) if listener]
    await _done_before(signals.insisted, asyncio.gather(*closing))
    await scrapes.close(0)
    for task in background:
        task.cancel()
    if log:
        await asyncio.to_thread(log.close)
    _log.info("stopped")


def _settle_memory() -> None:
    """Give back what the start needed, and look at what stays no more when garbage is collected."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    with contextlib.suppress(AttributeError):  # the C library's own
        ctypes.CDLL(None).malloc_trim(0)


def _read_tls(settings: Settings, exposition: Exposition) -> Tls | None:
    if settings.tls_dir is None:
        return None
    tls = Tls(settings.tls_dir)
    exposition.register(ExpiryCollector(tls, settings.deployment))
    return tls


def _open_grpc(settings: Settings, application: Application, tls: Tls | None) -> "GrpcServer | None":
    if settings.grpc_port is None:
        return None
    from modelyard.serving.rpc.server import Calls, GrpcServer  # noqa: PLC0415 - others start without the time it takes

    calls = Calls(application, asyncio.get_running_loop(), settings.timeout_seconds + FINISH_SECONDS)
    return GrpcServer.open(calls, settings, settings.grpc_port, tls)


def _limits(settings: Settings) -> Limits:
    return Limits(body_bytes=settings.max_request_bytes, buffered_bytes=max(64 * MIB, 4 * settings.max_request_bytes))


async def _done_before(event: asyncio.Event, awaitable: Awaitable[object]) -> bool:
    """Whether it is done before the event happens; if not, it is cancelled."""
    work, happened = asyncio.ensure_future(awaitable), asyncio.ensure_future(event.wait())
    await asyncio.wait((work, happened), return_when=asyncio.FIRST_COMPLETED)
    done = work.done()
    (happened if done else work).cancel()
    return done
