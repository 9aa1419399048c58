"""The CRDs on a real API server, and a small client that only asks what the server would say."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from dev.generate import REPOSITORY
from modelyard.api.v1alpha1.names import GROUP, VERSION
from tests.support.controlplane import ClusterAccess

Object = dict[str, Any]


class RefusedError(Exception):
    """The API server refused an object.

    Attributes:
        causes: field and message of each problem.
    """

    def __init__(self, status: Mapping[str, Any]) -> None:
        super().__init__(status["message"])
        causes = status.get("details", {}).get("causes", [])
        self.causes = {(cause.get("field", ""), cause["message"]) for cause in causes}


class Resources:
    """Our kinds in one namespace."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._objects = client.CustomObjectsApi(api)
        self.namespace = namespace

    def create(self, document: Object, *, dry_run: bool = False) -> Object:
        return self._call("create", document["kind"], document, dry_run=dry_run)

    def patch(self, kind: str, name: str, changes: Object, *, dry_run: bool = False) -> Object:
        return self._call("patch", kind, name, changes, dry_run=dry_run)

    def patch_status(self, kind: str, name: str, status: Object) -> Object:
        return self._call("patch", kind, name, {"status": status}, suffix="_status")

    def get(self, kind: str, name: str) -> Object:
        return self._call("get", kind, name)

    def _call(self, verb: str, kind: str, *arguments: Any, suffix: str = "", dry_run: bool = False) -> Object:
        call = getattr(self._objects, f"{verb}_namespaced_custom_object{suffix}")
        options = {"dry_run": "All"} if dry_run else {}
        try:
            answer: Object = call(GROUP, VERSION, self.namespace, f"{kind.lower()}s", *arguments, **options)
        except ApiException as error:
            raise RefusedError(json.loads(error.body or "{}")) from error
        return answer


@pytest.fixture(scope="session")
def definitions(control_plane: ClusterAccess) -> ClusterAccess:
    """Return the control plane, with our kinds served."""
    control_plane.apply(REPOSITORY / "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={REPOSITORY / 'crds'}")
    return control_plane


@pytest.fixture(scope="session")
def api(definitions: ClusterAccess) -> Iterator[client.ApiClient]:
    """Return a client of the API server that serves our kinds."""
    with definitions.client() as connected:
        yield connected


@pytest.fixture
def resources(api: client.ApiClient) -> Resources:
    """Return our kinds in a fresh namespace, which goes with the run."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    client.CoreV1Api(api).create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    return Resources(api, name)


@pytest.fixture(scope="session")
def undecided(api: client.ApiClient) -> Resources:
    """Return our kinds in the namespace `default`, for calls that change nothing."""
    return Resources(api, "default")
