import json
from typing import Any

import pytest
from kubernetes import client

from tests.support.controlplane import ClusterAccess

pytestmark = pytest.mark.cluster


def _config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


def test_client_reads_what_kubectl_applied(control_plane: ClusterAccess, namespace: str) -> None:
    control_plane.apply(_config_map("one"), namespace=namespace)
    with control_plane.client() as api:
        assert client.CoreV1Api(api).read_namespaced_config_map("one", namespace).data == {"a": "b"}


def test_audit_log_names_the_writer(control_plane: ClusterAccess, namespace: str) -> None:
    control_plane.apply(_config_map("audited"), namespace=namespace)
    entries = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]
    written = [e for e in entries if e.get("objectRef", {}).get("name") == "audited" and e["verb"] != "get"]
    assert [(e["user"]["username"], e["verb"]) for e in written] == [("modelyard-admin", "patch")]


def test_pod_is_accepted_in_a_fresh_namespace(control_plane: ClusterAccess, namespace: str) -> None:
    containers = [{"name": "main", "image": "busybox"}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}
    control_plane.apply(pod, namespace=namespace)
    assert "default" in control_plane.kubectl("get", "pod/p", "-n", namespace, "-o=jsonpath={.spec.serviceAccountName}")
