"""The charts on a real API server: every object is accepted; install, upgrade and uninstall keep what they should."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from dev.generate import REPOSITORY
from modelyard.api.v1alpha1.names import STORE_SECRET
from tests.chart.conftest import TENANT, Helm, Object
from tests.chart.test_render import OPERATOR_VALUES, TENANT_VALUES
from tests.cluster.api.objects import MINIMAL
from tests.support.controlplane import ClusterAccess

pytestmark = pytest.mark.cluster

CHARTS = {"modelyard": OPERATOR_VALUES, "modelyard-tenant": TENANT_VALUES}
ALL = [pytest.param(chart, values, id=f"{chart}-{name}") for chart in CHARTS for name, values in CHARTS[chart].items()]


@pytest.mark.parametrize(("chart", "values"), ALL)
def test_every_object_is_accepted(
    cluster_helm: Helm, control_plane: ClusterAccess, chart: str, values: Mapping[str, Any]
) -> None:
    objects = cluster_helm.template(chart, values)
    for namespace in {o["metadata"]["namespace"] for o in objects if "namespace" in o["metadata"]}:
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    answer = control_plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--filename=-", document=yaml.safe_dump_all(objects)
    )
    assert len(answer.splitlines()) == len(objects)


@pytest.mark.parametrize(("chart", "values"), ALL)
def test_every_pod_is_let_into_a_restricted_namespace(
    cluster_helm: Helm, control_plane: ClusterAccess, restricted: str, chart: str, values: Mapping[str, Any]
) -> None:
    workloads = [o for o in cluster_helm.template(chart, values) if o["kind"] == "Deployment"]
    pods = [_pod(workload, restricted) for workload in workloads]
    control_plane.kubectl("create", "--dry-run=server", "--filename=-", document=yaml.safe_dump_all(pods))


def _pod(workload: Object, namespace: str) -> Object:
    metadata, spec = workload["spec"]["template"]["metadata"], workload["spec"]["template"]["spec"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "name": workload["metadata"]["name"], "namespace": namespace},
        "spec": {**spec, "serviceAccountName": "default"},
    }


@pytest.fixture(scope="session")
def restricted(control_plane: ClusterAccess) -> str:
    name = f"test-{uuid.uuid4().hex[:10]}"
    control_plane.create_namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"})
    return name


class Release:
    """A release of a chart in a namespace."""

    def __init__(self, helm: Helm, cluster: ClusterAccess, chart: str, name: str, namespace: str) -> None:
        self._helm, self._cluster = helm, cluster
        self._chart, self.name, self.namespace = chart, name, namespace

    def upgrade(self, values: Mapping[str, Any]) -> str:
        arguments = (self.name, str(REPOSITORY / "charts" / self._chart), f"--namespace={self.namespace}")
        # Other tests have put the definitions into this cluster without helm.
        return self._helm.run("upgrade", "--install", "--take-ownership", *arguments, values=values)

    def uninstall(self) -> None:
        self._helm.run("uninstall", self.name, f"--namespace={self.namespace}")

    def exists(self, *what: str, namespace: str | None = None) -> bool:
        arguments = ("get", *what, f"--namespace={namespace or self.namespace}", "--ignore-not-found", "--output=name")
        return bool(self._cluster.kubectl(*arguments).strip())

    def get(self, *what: str, namespace: str | None = None) -> Object:
        found: Object = json.loads(
            self._cluster.kubectl("get", *what, f"--namespace={namespace or self.namespace}", "--output=json")
        )
        return found


@pytest.fixture
def operator(cluster_helm: Helm, control_plane: ClusterAccess, namespace: str) -> Iterator[Release]:
    release = Release(cluster_helm, control_plane, "modelyard", f"modelyard-{uuid.uuid4().hex[:10]}", namespace)
    yield release
    if release.exists(f"deployment/{release.name}-operator"):
        release.uninstall()


@pytest.fixture
def tenant(cluster_helm: Helm, control_plane: ClusterAccess, namespace: str) -> Iterator[Release]:
    name = f"air-{uuid.uuid4().hex[:10]}"
    release = Release(cluster_helm, control_plane, "modelyard-tenant", name, namespace)
    yield release
    if release.exists("deployment/modelyard-agent", namespace=name):
        release.uninstall()


def test_operator_is_installed_upgraded_and_uninstalled_around_existing_objects(
    operator: Release, control_plane: ClusterAccess
) -> None:
    assert "serves all namespaces" in operator.upgrade(OPERATOR_VALUES["defaults"])
    control_plane.apply(MINIMAL["TrainingRun"], namespace=operator.namespace)
    uid = operator.get("trainingrun/run")["metadata"]["uid"]
    operator.upgrade(OPERATOR_VALUES["high-availability"])
    assert operator.get(f"deployment/{operator.name}-operator")["spec"]["replicas"] == 2
    operator.uninstall()
    assert not operator.exists(
        "deployments.apps,services,serviceaccounts,clusterroles",
        f"--selector=app.kubernetes.io/instance={operator.name}",
    )
    operator.upgrade(OPERATOR_VALUES["defaults"])
    assert operator.get("trainingrun/run")["metadata"]["uid"] == uid


def test_upgrade_without_a_change_changes_nothing(operator: Release) -> None:
    operator.upgrade(OPERATOR_VALUES["demo"])
    what = (
        "deployments.apps,services,serviceaccounts,secrets",
        f"--selector=app.kubernetes.io/instance={operator.name}",
    )
    before = {o["metadata"]["uid"]: o["metadata"]["resourceVersion"] for o in operator.get(*what)["items"]}
    operator.upgrade(OPERATOR_VALUES["demo"])
    assert {o["metadata"]["uid"]: o["metadata"]["resourceVersion"] for o in operator.get(*what)["items"]} == before
    assert len(before) == 6


def test_keys_of_the_embedded_store_are_made_once(operator: Release) -> None:
    operator.upgrade(OPERATOR_VALUES["demo"])
    keys = operator.get(f"secret/{operator.name}-s3")["data"]
    operator.upgrade(OPERATOR_VALUES["demo"] | {"operator": {"workers": 2}})
    assert operator.get(f"secret/{operator.name}-s3")["data"] == keys
    assert {len(value) for value in keys.values()} == {28, 56}


def test_tenant_namespace_stays_with_its_objects_and_is_taken_up_again(
    tenant: Release, control_plane: ClusterAccess
) -> None:
    values = {**TENANT, "namespace": {"name": tenant.name}}
    assert f"The namespace {tenant.name} is for the tenant air in development" in tenant.upgrade(values)
    uid = tenant.get(f"namespace/{tenant.name}")["metadata"]["uid"]
    tenant.uninstall()
    assert not tenant.exists("deployment/modelyard-agent", namespace=tenant.name)
    tenant.upgrade({**values, "resourceQuota": {"pods": "10"}})
    assert tenant.get(f"namespace/{tenant.name}")["metadata"]["uid"] == uid
    assert tenant.get("resourcequota/modelyard-tenant", namespace=tenant.name)["spec"]["hard"] == {"pods": "10"}


def test_tenant_in_a_namespace_that_somebody_else_made(tenant: Release, control_plane: ClusterAccess) -> None:
    notes = tenant.upgrade({**TENANT, "namespace": {"create": False}, "store": {"create": False}})
    assert (
        f"kubectl label namespace {tenant.namespace} modelyard.dev/tenant=air modelyard.dev/environment=development"
        in notes
    )
    assert f"kubectl create secret generic {STORE_SECRET} --namespace {tenant.namespace}" in notes
    assert tenant.exists("deployment/modelyard-agent")
    tenant.uninstall()
    assert not tenant.exists("deployment/modelyard-agent")
