"""Calls of a real API server as its administrator, without any caching."""

import json
from typing import Any, Final

import urllib3

from tests.support.controlplane import ClusterAccess

Manifest = dict[str, Any]

PATHS: Final = {
    "Pipeline": "apis/modelyard.dev/v1alpha1/{}/pipelines",
    "TrainingRun": "apis/modelyard.dev/v1alpha1/{}/trainingruns",
    "ModelVersion": "apis/modelyard.dev/v1alpha1/{}/modelversions",
    "Deployment": "apis/modelyard.dev/v1alpha1/{}/deployments",
    "Observation": "apis/modelyard.dev/v1alpha1/{}/observations",
    "Job": "apis/batch/v1/{}/jobs",
    "Workload": "apis/apps/v1/{}/deployments",
    "Service": "api/v1/{}/services",
    "Pod": "api/v1/{}/pods",
    "ConfigMap": "api/v1/{}/configmaps",
    "Event": "api/v1/{}/events",
}
"""Kinds of a namespace; `Workload` is apps/v1 Deployment."""


class CallError(Exception):
    """The API server refused a call."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Api:
    """One namespace of an API server."""

    def __init__(self, plane: ClusterAccess, namespace: str) -> None:
        self.namespace = namespace
        self._server = plane.server
        self._pool = urllib3.PoolManager(
            ca_certs=str(plane.certificate_authority),
            cert_file=str(plane.client_certificate),
            key_file=str(plane.client_key),
            retries=urllib3.Retry(5, status_forcelist=[429], allowed_methods=None, raise_on_status=False),
            timeout=30,
        )

    def close(self) -> None:
        self._pool.clear()

    def all(self, kind: str) -> list[Manifest]:
        items: list[Manifest] = self._call("GET", self._path(kind))["items"]
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    def names(self, kind: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.all(kind)]

    def get(self, kind: str, name: str) -> Manifest:
        return self._call("GET", self._path(kind, name))

    def create(self, kind: str, manifest: Manifest) -> Manifest:
        return self._call("POST", self._path(kind), manifest)

    def patch(self, kind: str, name: str, change: Manifest) -> Manifest:
        return self._call("PATCH", self._path(kind, name), change)

    def patch_status(self, kind: str, name: str, status: Manifest) -> Manifest:
        return self._call("PATCH", f"{self._path(kind, name)}/status", {"status": status})

    def delete(self, kind: str, name: str) -> None:
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        self._call("DELETE", self._path(kind, name), options)

    def _path(self, kind: str, name: str = "") -> str:
        return PATHS[kind].format(f"namespaces/{self.namespace}") + (f"/{name}" if name else "")

    def _call(self, method: str, path: str, body: Manifest | None = None) -> Manifest:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        answer = self._pool.request(method, f"{self._server}/{path}", body=data, headers={"Content-Type": kind})
        content: Manifest = json.loads(answer.data)
        if answer.status >= 400:
            raise CallError(answer.status, content.get("message", ""))
        return content
