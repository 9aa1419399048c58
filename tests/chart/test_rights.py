"""What the installed roles let each account do, asked of a real API server."""

import uuid
from collections.abc import Iterator

import pytest
import yaml
from kubernetes import client

from tests.chart.conftest import TENANT, Helm
from tests.support.controlplane import ClusterAccess

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="session")
def reviews(control_plane: ClusterAccess) -> Iterator[client.AuthorizationV1Api]:
    """Return the API that says who may do what."""
    with control_plane.client() as api:
        yield client.AuthorizationV1Api(api)


@pytest.fixture(scope="session")
def places(cluster_helm: Helm, control_plane: ClusterAccess) -> dict[str, str]:
    """Return the namespaces of an operator and of a tenant, whose roles are in place."""
    suffix = uuid.uuid4().hex[:10]
    names = {place: f"{place}-{suffix}" for place in ("system", "tenant", "other")}
    for name in names.values():
        control_plane.create_namespace(name)
    release = f"modelyard-{suffix}"
    objects = cluster_helm.template(
        "modelyard", {"crds": {"enabled": False}}, namespace=names["system"], release=release
    )
    objects += cluster_helm.template(
        "modelyard-tenant", {**TENANT, "namespace": {"create": False}}, namespace=names["tenant"]
    )
    roles = [o for o in objects if "Role" in o["kind"]]
    control_plane.kubectl("apply", "--server-side", "--filename=-", document=yaml.safe_dump_all(roles))
    return {**names, "release": release}


@pytest.mark.parametrize(
    ("account", "question", "allowed"),
    [
        ("operator in tenant", "watch trainingruns.modelyard.dev", True),
        ("operator in tenant", "create trainingruns.modelyard.dev", True),
        ("operator in tenant", "patch pipelines.modelyard.dev/status", True),
        ("operator in tenant", "patch pipelines.modelyard.dev", False),
        ("operator in tenant", "patch trainingruns.modelyard.dev/status", True),
        ("operator in tenant", "patch trainingruns.modelyard.dev", False),
        ("operator in tenant", "create modelversions.modelyard.dev", True),
        ("operator in tenant", "update modelversions.modelyard.dev", False),
        ("operator in tenant", "delete modelversions.modelyard.dev", False),
        ("operator in tenant", "create observations.modelyard.dev", False),
        ("operator in tenant", "create jobs.batch", True),
        ("operator in tenant", "patch deployments.apps", True),
        ("operator in tenant", "create pods", False),
        ("operator in tenant", "create pods/exec", False),
        ("operator in tenant", "get secrets", False),
        ("operator in system", "list secrets", False),
        ("operator in tenant", "list configmaps", False),
        ("operator in tenant", "get configmaps:modelyard-versions", True),
        ("operator in tenant", "get configmaps:other", False),
        ("operator in system", "update leases.coordination.k8s.io:modelyard-operator", True),
        ("operator in system", "update leases.coordination.k8s.io:other", False),
        ("operator in tenant", "create leases.coordination.k8s.io", False),
        ("operator in tenant", "get namespaces:any", True),
        ("operator in tenant", "list namespaces", False),
        ("operator in tenant", "create serviceaccounts/token", False),
        ("agent in tenant", "patch observations.modelyard.dev", True),
        ("agent in other", "patch observations.modelyard.dev", False),
        ("agent in tenant", "list trainingruns.modelyard.dev", True),
        ("agent in other", "list trainingruns.modelyard.dev", False),
        ("agent in tenant", "patch trainingruns.modelyard.dev/status", False),
        ("agent in tenant", "patch modelversions.modelyard.dev", False),
        ("agent in tenant", "get secrets", False),
        ("agent in tenant", "list pods", False),
        ("step in tenant", "get trainingruns.modelyard.dev", False),
        ("server in tenant", "get modelversions.modelyard.dev", False),
    ],
)
def test_account_may_do_what_it_needs_and_no_more(
    reviews: client.AuthorizationV1Api, places: dict[str, str], account: str, question: str, *, allowed: bool
) -> None:
    who, place = account.split(" in ")
    verb, resource = question.split()
    attributes = _attributes(resource) | {"verb": verb, "namespace": places[place]}
    review = client.V1SubjectAccessReview(
        spec=client.V1SubjectAccessReviewSpec(
            user=_user(who, places), resource_attributes=client.V1ResourceAttributes(**attributes)
        )
    )
    status = reviews.create_subject_access_review(review).status
    assert status is not None
    assert status.allowed is allowed


def _user(account: str, places: dict[str, str]) -> str:
    if account == "operator":
        return f"system:serviceaccount:{places['system']}:{places['release']}-operator"
    return f"system:serviceaccount:{places['tenant']}:modelyard-{account}"


def _attributes(text: str) -> dict[str, str]:
    """Return the attributes of a resource, a subresource (`pods/exec`) or one object (`secrets:name`)."""
    text, _, name = text.partition(":")
    text, _, subresource = text.partition("/")
    resource, _, group = text.partition(".")
    return {"group": group, "resource": resource, "subresource": subresource, "name": name}
