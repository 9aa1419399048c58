"""Which cluster this machine can have."""

from pathlib import Path
from typing import Protocol

from dev.cluster import node
from dev.cluster.kind import Kind
from dev.cluster.paths import Report
from dev.cluster.selection import selected


class Backend(Protocol):
    """A cluster that can be started and ended."""

    def up(self) -> None:
        """Start it unless it runs."""

    def down(self) -> None:
        """Delete it."""

    def status(self) -> bool:
        """Report how it is; True if all is well."""

    def load(self, archive: Path) -> None:
        """Import an image archive."""

    def tag(self, name: str, alias: str) -> None:
        """Let an image have another name; what had that name before loses it."""

    def images(self) -> set[str]:
        """Return the names of its images."""

    def pretend_gpus(self, count: int) -> None:
        """Let the node offer GPUs that it does not have."""


def choose(report: Report) -> Backend:
    """Return this machine's cluster, running or not."""
    return Kind(report) if selected() == "kind" else node.node(report)
