"""What the bare-machine node is called and where it listens."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from dev.cluster.errors import ClusterError

NODE_NAME = "modelyard-local"
BRIDGE = "modelyard0"
CLUSTER_DOMAIN = "cluster.local"
RUN_FOLDER = Path("/run/modelyard")  # short: a socket's path has at most 107 characters
_CANDIDATES = [(f"10.{n}.0.0/16", f"10.{n + 1}.0.0/16") for n in range(244, 200, -2)]


@dataclass(frozen=True)
class Settings:
    """Chosen at the first start, kept until the cluster is deleted."""

    pod_cidr: str
    service_cidr: str

    @property
    def address(self) -> str:
        """The bridge's address: of the node, the API server and the DNS server."""
        return str(IPv4Network(self.pod_cidr)[1])


def choose(routes: Iterable[IPv4Network]) -> Settings:
    """Return settings whose ranges overlap none of the machine's routes.

    Raises:
        ClusterError: every candidate overlaps.
    """
    taken = list(routes)
    for pods, services in _CANDIDATES:
        if not any(IPv4Network(cidr).overlaps(route) for cidr in (pods, services) for route in taken):
            return Settings(pods, services)
    raise ClusterError("no free address range in 10.200.0.0-10.245.255.255: the machine's routes take all of it")


def parse_routes(table: str) -> list[IPv4Network]:
    """Return the networks in the text of /proc/net/route, without the default route."""
    rows = [line.split() for line in table.splitlines()[1:]]
    networks = [IPv4Network((_address(row[1]), _address(row[7])), strict=False) for row in rows]
    return [network for network in networks if network.prefixlen > 0]


def load(path: Path) -> Settings | None:
    """Read the settings of the cluster that exists."""
    return Settings(**json.loads(path.read_text())) if path.exists() else None


def dump(settings: Settings) -> str:
    """Return what `load` reads."""
    return json.dumps(asdict(settings)) + "\n"


def _address(little_endian: str) -> str:
    return str(IPv4Address(bytes.fromhex(little_endian)[::-1]))
