"""Drains and swaps under load: how many requests fail while a server is replaced, or its model is.

A drain is one step of a rolling restart as a client behind a Service sees it: the next server is ready, the old one is
told to stop, new connections still reach the old one until the change has spread, and then only the next one. Open
connections stay where they are until the server closes them.
"""

import asyncio
import re
import shutil
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.serving.client import Client, request_bytes
from bench.serving.servers import OURS, Running, Server, ServerError, ours
from bench.serving.workloads import Workload, workload

CONNECTIONS: Final = 16
DRAIN_SECONDS: Final = 1.0
"""What our server is told; in a pod it is 10, for a change spreads slower there."""
SPREAD_SECONDS: Final = 0.5
"""Time that new connections still reach a server that was told to stop."""

_LOAD_SECONDS: Final = 0.3
_END_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_SWAPS_METRIC: Final = re.compile(rb"^modelyard_inference_model_swaps_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)
_METRICS_PORT: Final = re.compile(r'"metrics_port": ?(\d+)')


@dataclass(frozen=True)
class Replacements:
    """What became of the requests while something was replaced a number of times."""

    server: str
    kind: str
    times: int
    answered: int
    failed: Mapping[str, int]

    @property
    def failures(self) -> int:
        return sum(self.failed.values())


def measure_drains(server: Server, model: Workload, times: int, folder: Path) -> Replacements:
    """Replace a server by a new one of its kind, again and again, under load.

    Raises:
        ServerError: one does not start, or does not end in time.
    """
    return asyncio.run(_drain(server, model, times, folder))


def measure_swaps(name: str, times: int, folder: Path) -> Replacements:
    """Let our server swap its model in place for another, again and again, under load.

    Raises:
        ServerError: it does not start, does not swap, or does not answer as the new model.
    """
    return asyncio.run(_swap(name, times, folder))


async def _drain(server: Server, model: Workload, times: int, folder: Path) -> Replacements:
    serving = await _start(server, model, folder / "drain-0")
    failed: Counter[str] = Counter()
    target = serving.launch.port
    client = Client(request_bytes(model.request(1)), lambda: target)
    load = asyncio.create_task(client.drive(CONNECTIONS))
    try:
        for number in range(times):
            following = await _start(server, model, folder / f"drain-{number + 1}")
            await asyncio.sleep(_LOAD_SECONDS)
            old, serving = serving, following
            old.tree.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(SPREAD_SECONDS)
            target = following.launch.port
            failed.update(await _ended(old))
        await asyncio.sleep(_LOAD_SECONDS)
        client.stop()
        await load
    finally:
        load.cancel()
        serving.tree.stop()
    return Replacements(server.name, "drain", times, client.outcome.answered, dict(failed + client.outcome.failed))


async def _start(server: Server, model: Workload, folder: Path) -> Running:
    running = server.start(model, folder)
    try:
        await asyncio.to_thread(running.wait_correct)
    except BaseException:
        running.tree.stop()
        raise
    return running


async def _ended(running: Running) -> list[str]:
    """Wait for the end of a server; that ours does not end with 0 counts as a failure."""
    await asyncio.to_thread(running.tree.wait, _END_SECONDS)
    code = running.tree.process.poll()
    await asyncio.to_thread(running.tree.stop)
    return [] if code == 0 or running.server.package != OURS else [f"exit code {code}"]


async def _swap(name: str, times: int, folder: Path) -> Replacements:
    models = [workload(name), workload(name, seed=1)]
    served = folder / "swapped-model"
    _lay(models[0].folder, served)
    server = ours(pinned=False)
    running = await _start(server, Workload(models[0].name, served, models[0].rows), folder / "swap")
    client = Client(request_bytes(models[0].request(1)), lambda: running.launch.port)
    load = asyncio.create_task(client.drive(CONNECTIONS))
    try:
        for number in range(1, times + 1):
            await asyncio.sleep(_LOAD_SECONDS)
            model = models[number % len(models)]
            _lay(model.folder, served)
            running.tree.process.send_signal(signal.SIGHUP)
            await _swapped(running, number)
            answer = await asyncio.to_thread(running.ask, model.request(1))
            if fault := model.fault(answer, 1):
                raise ServerError(f"after swap {number} the new model must answer: {fault}")
        client.stop()
        await load
    finally:
        load.cancel()
        running.tree.stop()
    return Replacements(server.name, "swap", times, client.outcome.answered, dict(client.outcome.failed))


def _lay(source: Path, folder: Path) -> None:
    """Put another model into the folder in one step."""
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for rest in (new, old):
        shutil.rmtree(rest, ignore_errors=True)
    shutil.copytree(source, new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)


async def _swapped(running: Running, number: int) -> None:
    deadline = time.monotonic() + _END_SECONDS
    while await asyncio.to_thread(_swaps, running) < number:
        if running.tree.ended() or time.monotonic() > deadline:
            raise ServerError(f"{running.server.name} did not swap its model: {running.log()}")
        await asyncio.sleep(_POLL_SECONDS)


def _swaps(running: Running) -> int:
    text = (running.launch.folder / "log").read_text()
    port = _METRICS_PORT.search(text)
    if port is None:
        raise ServerError(f"{running.server.name} does not say on which port its metrics are: {text[-500:]}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=_END_SECONDS) as answer:
        found = _SWAPS_METRIC.search(answer.read())
    return int(float(found[1])) if found else 0
