"""The command `python -m dev.images`: build the images, load them into the local cluster."""

import argparse
import sys

from dev.cluster.__main__ import report
from dev.cluster.errors import ClusterError
from dev.images import assembly
from dev.images.catalogue import ALL_IMAGES


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dev.images", description=__doc__)
    parser.add_argument("command", choices=["build", "load"], help="load builds first")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(ALL_IMAGES)}; all by default")
    arguments = parser.parse_args()
    unknown = set(arguments.images) - set(ALL_IMAGES)
    if unknown:
        parser.error(f"IMAGE {', '.join(sorted(unknown))}: must be of {', '.join(ALL_IMAGES)}")
    try:
        images = assembly.build(arguments.images or ALL_IMAGES, report)
        for image in images:
            report(f"{image.names[0]}  {image.archive.stat().st_size / 1e6:.0f} MB  {image.archive}")
        if arguments.command == "load":
            assembly.load(images, report)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
