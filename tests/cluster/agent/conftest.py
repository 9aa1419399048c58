import pytest

from dev.generate import REPOSITORY
from tests.support.controlplane import ClusterAccess
from tests.support.s3 import bucket, own_s3_server, s3_server, use_store

__all__ = ["bucket", "own_s3_server", "s3_server", "use_store"]


@pytest.fixture(scope="session")
def definitions(control_plane: ClusterAccess) -> ClusterAccess:
    control_plane.apply(REPOSITORY / "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={REPOSITORY / 'crds'}")
    return control_plane
