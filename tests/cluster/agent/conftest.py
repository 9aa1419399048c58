from collections.abc import Callable

import pytest

from dev.generate import REPOSITORY
from tests.cluster.agent.site import Site
from tests.support.controlplane import ClusterAccess
from tests.support.git import git_server
from tests.support.s3 import S3Server, bucket, own_s3_server, s3_server, use_store
from tests.support.s3_proxy import s3_proxy

__all__ = ["bucket", "git_server", "own_s3_server", "s3_proxy", "s3_server", "use_store"]


@pytest.fixture(scope="session")
def definitions(control_plane: ClusterAccess) -> ClusterAccess:
    control_plane.apply(REPOSITORY / "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={REPOSITORY / 'crds'}")
    return control_plane


@pytest.fixture
def site(
    definitions: ClusterAccess,
    namespace: str,
    s3_server: S3Server,
    bucket: str,
    use_store: Callable[[S3Server], None],
) -> Site:
    use_store(s3_server)
    return Site(definitions, namespace, s3_server, bucket)
