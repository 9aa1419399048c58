from ipaddress import IPv4Network
from pathlib import Path

import pytest

from dev.cluster import settings
from dev.cluster.errors import ClusterError
from dev.cluster.settings import Settings

_ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def test_parse_routes_leaves_out_the_default_route() -> None:
    assert settings.parse_routes(_ROUTES) == [IPv4Network("10.244.0.0/16")]


@pytest.mark.parametrize("route", ["10.244.3.0/24", "10.245.0.0/24", "10.240.0.0/13"])
def test_choose_avoids_every_route(route: str) -> None:
    chosen = settings.choose([IPv4Network(route)])
    for cidr in (chosen.pod_cidr, chosen.service_cidr):
        assert not IPv4Network(cidr).overlaps(IPv4Network(route))


def test_choose_says_when_nothing_is_free() -> None:
    with pytest.raises(ClusterError, match="no free address range"):
        settings.choose([IPv4Network("10.0.0.0/8")])


def test_settings_survive_a_round_trip(tmp_path: Path) -> None:
    chosen = Settings("10.244.0.0/16", "10.245.0.0/16")
    path = tmp_path / "settings.json"
    assert settings.load(path) is None
    path.write_text(settings.dump(chosen))
    assert settings.load(path) == chosen
    assert chosen.address == "10.244.0.1"
