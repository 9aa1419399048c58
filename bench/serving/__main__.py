"""`make bench-serving`: our model server, its peers, the floor and the limit, side by side. Writes bench/results."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.bars import RESULTS
from bench.serving import environments
from bench.serving.bars import bars
from bench.serving.drains import DRAIN_SECONDS, Replacements, measure_drains, measure_swaps
from bench.serving.figures import Cell, Samples
from bench.serving.processes import LOAD_CORE, SERVER_CORE
from bench.serving.results import Results, save, show
from bench.serving.rounds import ALL_CELLS, Plan, Problems, Run, measure_model
from bench.serving.servers import OURS, PEERS, Server, ServerError, nginx, ours, peer_variants
from bench.serving.starts import measure_starts
from bench.serving.workloads import MODELS, workload
from dev.cluster.paths import cache_dir
from dev.shell import CommandError

DRAINED_MODEL: Final = "gbt"


def main() -> int:
    """Measure, print the tables and the bars; returns 1 when a bar does not hold."""
    options = _options().parse_args()
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        print(f"cores {SERVER_CORE} and {LOAD_CORE} are needed: one for the server, one for the load", file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {LOAD_CORE})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no frozen server is left behind
    try:
        environments.require_programs(_report)
        with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as folder:
            results = _measure(options, Path(folder))
    except (environments.EnvironmentMissingError, ServerError) as error:
        print(error, file=sys.stderr)
        return 2
    narrowed = _narrowed(options)
    file = save(results, {name: _plain(value) for name, value in vars(options).items()}, _folder(narrowed=narrowed))
    show(results, options.models, options.cells)
    print(f"\nraw figures: {file}")
    verdicts = [bar.holds for bar in results.bars]
    return 1 if False in verdicts or (None in verdicts and not narrowed) else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times that every cell of every server is visited")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds for a cell")
    parser.add_argument("--models", type=_list_of(MODELS), default=MODELS, help="comma-separated")
    parser.add_argument("--peers", type=_list_of(PEERS), default=PEERS, help="comma-separated, or empty")
    parser.add_argument("--cells", type=_cells, default=ALL_CELLS, help="as rows x connections: 1x16,64x16")
    parser.add_argument("--starts", type=int, default=5, help="times that every server is started")
    parser.add_argument(
        "--drains", type=int, default=10, help="times that our server is drained, and its model swapped"
    )
    parser.add_argument("--peer-drains", type=int, default=2, help="times that peers are drained")
    parser.add_argument(
        "--seed", type=int, default=int(datetime.now(UTC).timestamp()), help="of the order in the rounds"
    )
    return parser


def _list_of(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(filter(None, text.split(",")))
        if unknown := set(chosen) - set(allowed):
            raise argparse.ArgumentTypeError(f"must be of {', '.join(allowed)}, got {', '.join(sorted(unknown))}")
        return chosen

    return parse


def _cells(text: str) -> tuple[Cell, ...]:
    chosen = set(text.split(","))
    known = {f"{cell.rows}x{cell.connections}" for cell in ALL_CELLS}
    if unknown := chosen - known:
        raise argparse.ArgumentTypeError(f"must be of {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}")
    return tuple(cell for cell in ALL_CELLS if f"{cell.rows}x{cell.connections}" in chosen)


def _narrowed(options: argparse.Namespace) -> bool:
    """Whether less is measured than by default, so that it is a trial and no result."""
    whole = _options().parse_args([])
    return any(getattr(options, name) != getattr(whole, name) for name in ("models", "peers", "cells")) or any(
        getattr(options, name) < getattr(whole, name)
        for name in ("rounds", "seconds", "starts", "drains", "peer_drains")
    )


def _folder(*, narrowed: bool) -> Path:
    return cache_dir() / "bench" / "trials" if narrowed else RESULTS


def _plain(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, tuple) else value


def _report(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def _measure(options: argparse.Namespace, folder: Path) -> Results:
    run = Run(Plan(options.cells, options.rounds, options.seconds, options.seed), folder, Problems(), _report)
    servers = [ours(), nginx(), *_peers(options, run)]
    models = [workload(name) for name in options.models]
    samples = [sample for model in models for sample in measure_model(model, servers, run)]
    _report("starts")
    plain = [server for server in servers if server.name in (OURS, *PEERS)]
    starts = measure_starts(models[:1], plain, options.starts, run) if options.starts else []
    starts += measure_starts(models[1:], plain[:1], options.starts, run) if options.starts else []
    _report("drains and swaps")
    replacements = _replace(options, plain, run) if options.drains else []
    judged = bars(Samples(samples), starts, replacements, run.problems)
    return Results(samples, starts, replacements, run.problems, judged)


def _peers(options: argparse.Namespace, run: Run) -> list[Server]:
    servers: list[Server] = []
    for peer in options.peers:
        try:
            servers += peer_variants(peer, environments.python_of(peer, _report))
        except CommandError as error:
            _report(f"{peer} is left out: {error}")
            for model in options.models:
                run.problems.add(model, peer, f"cannot be installed: {error}")
    return servers


def _replace(options: argparse.Namespace, servers: Sequence[Server], run: Run) -> list[Replacements]:
    model, folder = workload(DRAINED_MODEL), run.folder
    draining = [(ours(drain_seconds=DRAIN_SECONDS), options.drains)]
    draining += [(server, options.peer_drains) for server in servers[1:] if options.peer_drains]
    found = []
    for server, times in draining:
        with run.problems.noting(model.name, server.name):
            found.append(measure_drains(server, model, times, folder / f"drain-{server.name}"))
    with run.problems.noting(model.name, OURS):
        found.append(measure_swaps(DRAINED_MODEL, options.drains, folder))
    return found


if __name__ == "__main__":
    sys.exit(main())
