"""Reading our objects, and what belongs to them, from the cluster that the kubeconfig names."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from modelyard.api.v1alpha1 import Deployment, ModelVersion, Pipeline, TrainingRun
from modelyard.api.v1alpha1.common import CustomResource
from modelyard.api.v1alpha1.names import GROUP, VERSION

Resource = TypeVar("Resource", bound=CustomResource)

REQUEST_TIMEOUT_SECONDS = 30
KINDS: Mapping[str, type[CustomResource]] = {
    alias: kind
    for kind in (Pipeline, TrainingRun, ModelVersion, Deployment)
    for alias in (kind.kind.lower(), kind.plural, *kind.short_names)
}


class ClusterError(Exception):
    """The cluster could not answer; the text says why and what to do."""


def parse_reference(text: str) -> tuple[type[CustomResource], str]:
    """Split `KIND/NAME`.

    Raises:
        ClusterError: The text is no `KIND/NAME`, or the kind is none of ours.
    """
    kind, slash, name = text.partition("/")
    if not slash or not name:
        raise ClusterError(f"'{text}' must be KIND/NAME, such as trun/flight-delay-1 or mdep/flight-delay")
    found = KINDS.get(kind.lower())
    if found is None:
        raise ClusterError(f"'{kind}' must be one of {', '.join(sorted(KINDS))}")
    return found, name


class AlreadyExistsError(ClusterError):
    """There is an object of that name."""


@dataclass(frozen=True)
class Cluster:
    """A thin view of one namespace."""

    objects: Any
    namespace: str

    @classmethod
    def connect(cls, *, namespace: str | None, context: str | None) -> "Cluster":
        """Connect as the kubeconfig says; the namespace defaults to the context's."""
        from kubernetes import client, config  # noqa: PLC0415 - half a second that `--help` need not take
        from kubernetes.config import ConfigException  # noqa: PLC0415

        try:
            config.load_kube_config(context=context)
            _, current = config.list_kube_config_contexts()
        except (ConfigException, OSError) as error:
            raise ClusterError(f"no usable kubeconfig: {error}") from error
        chosen = namespace or current["context"].get("namespace") or "default"
        return cls(objects=client.CustomObjectsApi(), namespace=chosen)

    def get(self, kind: type[Resource], name: str) -> Resource:
        """Read one object.

        Raises:
            ClusterError: It does not exist or may not be read.
        """
        body = self._call("get_namespaced_custom_object", kind, name=name, what=f"{kind.kind} '{name}'")
        return kind.model_validate(body)

    def list(self, kind: type[Resource]) -> list[Resource]:
        """Read all objects of a kind in the namespace."""
        body = self._call("list_namespaced_custom_object", kind, what=kind.plural)
        return [kind.model_validate(item) for item in body["items"]]

    def annotate(self, kind: type[Resource], name: str, annotation: str, value: str) -> None:
        """Set one annotation of an object, as `kubectl annotate --overwrite` does.

        Raises:
            ClusterError: It does not exist or may not be changed.
        """
        body = {"metadata": {"annotations": {annotation: value}}}
        what = f"{kind.kind} '{name}'"
        self._call("patch_namespaced_custom_object", kind, name=name, body=body, what=what, verb="change")

    def create(self, kind: type[Resource], manifest: Mapping[str, Any]) -> bool:
        """Create an object and say whether that was done: False when there is one of its name.

        Raises:
            ClusterError: It may not be created, or is refused.
        """
        try:
            self._call(
                "create_namespaced_custom_object", kind, what=_named(kind, manifest), verb="create", body=dict(manifest)
            )
        except AlreadyExistsError:
            return False
        return True

    def watch(self, kind: type[Resource], name: str, *, timeout_seconds: int) -> Iterator[Resource]:
        """Yield the object as it is now and after each change, until the time is up or it is deleted."""
        from kubernetes import watch  # noqa: PLC0415

        stream = watch.Watch().stream(
            self.objects.list_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            kind.plural,
            field_selector=f"metadata.name={name}",
            timeout_seconds=timeout_seconds,
        )
        for event in stream:
            if event["type"] == "DELETED":
                return
            yield kind.model_validate(event["object"])

    def _call(self, method: str, kind: type[CustomResource], *, what: str, verb: str = "read", **arguments: Any) -> Any:
        from kubernetes.client import ApiException  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            return getattr(self.objects, method)(
                group=GROUP,
                version=VERSION,
                namespace=self.namespace,
                plural=kind.plural,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
                **arguments,
            )
        except ApiException as error:
            if error.status == HTTPStatus.CONFLICT:
                raise AlreadyExistsError(f"{what} exists in namespace '{self.namespace}'") from error
            raise ClusterError(_explain(error.status, verb, what, self.namespace, _reason(error))) from error
        except HTTPError as error:
            raise ClusterError(f"the API server does not answer: {error}") from error


def _named(kind: type[CustomResource], manifest: Mapping[str, Any]) -> str:
    return f"{kind.kind} '{manifest['metadata']['name']}'"


def _reason(error: Any) -> str:
    """Return what the API server says: it knows best why it refuses an object."""
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        return str(error.reason)


def _explain(status: int, verb: str, what: str, namespace: str, reason: str) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return f"{what} not found in namespace '{namespace}' (or the CRDs are not installed)"
    if status == HTTPStatus.FORBIDDEN:
        return f"you may not {verb} {what} in namespace '{namespace}': {reason}"
    return f"could not {verb} {what} in namespace '{namespace}': {status} {reason}"
