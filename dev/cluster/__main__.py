"""The command `python -m dev.cluster`."""

import argparse
import sys
from pathlib import Path

from dev.cluster import backend
from dev.cluster.errors import ClusterError
from dev.cluster.paths import kubeconfig_path


def main() -> int:
    """Run one command; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        return _run(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "kubeconfig":
        print(kubeconfig_path())
        return 0
    cluster = backend.choose(report)
    match arguments.command:
        case "up":
            cluster.up()
        case "down":
            cluster.down()
        case "load":
            cluster.load(arguments.archive)
        case "gpus":
            cluster.pretend_gpus(arguments.count)
        case _:
            return 0 if cluster.status() else 1
    return 0


def report(line: str) -> None:
    """Print one line at once, also into a pipe."""
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the cluster, or what is missing of it")
    commands.add_parser("down", help="end the cluster and delete its state")
    commands.add_parser("status", help="say how each part is; exit status 1 if one is not well")
    commands.add_parser("kubeconfig", help="print the path of the cluster's kubeconfig")
    load = commands.add_parser("load", help="import an image archive (OCI or Docker)")
    load.add_argument("archive", type=Path)
    gpus = commands.add_parser("gpus", help="let the node offer GPUs that it does not have, for scheduling tests")
    gpus.add_argument("count", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
