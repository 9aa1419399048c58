"""Pods as every child of Modelyard has them: `restricted` Pod Security, no API token, uid 65532. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelyard.api.canonical import as_json, compact_json
from modelyard.api.v1alpha1.common import PodTemplate, ResourceRequirements
from modelyard.api.v1alpha1.names import STORE_SECRET
from modelyard.controller.engine.manifests import Manifest, without_nulls

USER_ID: Final = 65532
INPUTS_DIR: Final = "/modelyard/inputs"


def environment(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return environment variables as a container lists them; no `$(NAME)` in a value is expanded."""
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in values.items()]


def store_access() -> list[dict[str, Any]]:
    """Return the `envFrom` of a container that opens the store."""
    return [{"secretRef": {"name": STORE_SECRET}}]


def container_security(*, read_only_root: bool) -> dict[str, Any]:
    """Return the securityContext of a container; our own images need no writable root file system."""
    context: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {**context, "readOnlyRootFilesystem": True} if read_only_root else context


def fetch_container(
    *,
    image: str,
    pull_policy: str,
    sources: Sequence[Mapping[str, str]],
    mounts: Sequence[Mapping[str, Any]],
    variables: Mapping[str, str] | None = None,
) -> Manifest:
    """Return the init container that brings sources into `/modelyard/inputs/<name>` and verifies every byte.

    Args:
        image: image that contains `modelyard.steps.fetch`.
        pull_policy: its imagePullPolicy.
        sources: entries made by `source`.
        mounts: volumeMounts; one must be writable at `/modelyard/inputs`.
        variables: further environment variables.
    """
    return {
        "name": "fetch",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["python", "-m", "modelyard.steps.fetch"],
        "env": environment({"MODELYARD_SOURCES": compact_json(list(sources)), **(variables or {})}),
        "envFrom": store_access(),
        "resources": helper_resources(),
        "securityContext": container_security(read_only_root=True),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": list(mounts),
    }


def helper_resources() -> dict[str, Any]:
    """Return the resources of fetch and publish: both stream, so their need does not grow with the data."""
    return {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def resources(wanted: ResourceRequirements) -> dict[str, Any]:
    """Return resources as a container has them."""
    return as_json(wanted)


def restricted_pod(
    *,
    template: PodTemplate,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    service_account: str,
    init_containers: Sequence[Manifest],
    containers: Sequence[Manifest],
    volumes: Sequence[Manifest],
    **more: Any,
) -> Manifest:
    """Return a pod template (`metadata` and `spec`) with the user's template merged in; our labels win.

    Args:
        template: what the user says about the pods.
        labels: labels of the pod.
        annotations: annotations of the pod.
        service_account: ServiceAccount; its token is never mounted.
        init_containers: init containers, in order.
        containers: containers.
        volumes: volumes.
        more: further fields of the pod's spec, such as `restartPolicy`.
    """
    tolerations = [as_json(t) for t in template.tolerations]
    affinity = template.affinity
    metadata = {
        "labels": {**(template.labels or {}), **labels},
        "annotations": {**(template.annotations or {}), **(annotations or {})} or None,
    }
    spec = {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(template.node_selector) if template.node_selector else None,
        "tolerations": tolerations or None,
        "affinity": affinity.model_dump(by_alias=True, exclude_defaults=True, mode="json") if affinity else None,
        "priorityClassName": template.priority_class_name,
        "runtimeClassName": template.runtime_class_name,
        "initContainers": list(init_containers) or None,
        "containers": list(containers),
        "volumes": list(volumes),
        **more,
    }
    pod: Manifest = without_nulls({"metadata": metadata, "spec": spec})
    return pod
