"""What a Deployment is made of: one apps/v1 Deployment a revision, and one Service (docs/contracts.md). Pure."""

from functools import partial
from typing import Any, Final

from modelyard.api.v1alpha1 import names
from modelyard.api.v1alpha1.common import ResourceRequirements
from modelyard.api.v1alpha1.deployment import Deployment, Protocol
from modelyard.controller.engine.manifests import Manifest, adopt, digest_of
from modelyard.controller.kinds import podspec
from modelyard.controller.kinds.deployment import prediction_log
from modelyard.controller.kinds.deployment.revision import ANNOTATION_REVISION, ANNOTATION_TEMPLATE, Revision
from modelyard.handover import named_source

DRAIN_SECONDS: Final = 5
"""How long a server that is told to stop still takes requests, so that every proxy has heard of it."""
_GRACE_SECONDS: Final = 10
_START_SECONDS: Final = 600
_MODEL_VOLUME: Final = "model"
_MODEL_DIR: Final = "/modelyard/model"
_TLS_VOLUME: Final = "tls"
_TLS_DIR: Final = "/modelyard/tls"
_GRPC_PORT: Final = 9000
_GPU: Final = "nvidia.com/gpu"
_DEFAULT_RESOURCES: Final = ResourceRequirements(requests={"cpu": "100m", "memory": "256Mi"})


def build_workload(owner: Deployment, revision: Revision, *, replicas: int, pull_policy: str) -> Manifest:
    """Return the apps/v1 Deployment of one revision.

    Args:
        owner: what the user wrote; its resources, placement and deadline apply to every revision.
        revision: what is served and how.
        replicas: number of pods.
        pull_policy: imagePullPolicy of the model server's image.
    """
    labels = _labels(owner, revision)
    pod = build_pod(owner, revision, pull_policy)
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.revision_name(owner.metadata.name, revision.id),
            "namespace": owner.metadata.namespace,
            "labels": labels,
            "annotations": {ANNOTATION_REVISION: revision.canonical(), ANNOTATION_TEMPLATE: digest_of(pod)},
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": owner.spec.rollout.progress_deadline_seconds,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": pod_selector(owner.metadata.name, revision.id)},
            "template": pod,
        },
    }
    return adopt(workload, owner_manifest(owner))


def build_service(owner: Deployment, revision: str, *, tls: bool) -> Manifest:
    """Return the Service of the Deployment, which sends all traffic to one revision.

    Args:
        owner: what the user wrote.
        revision: the revision.
        tls: whether it serves over TLS.
    """
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": owner.metadata.name,
            "namespace": owner.metadata.namespace,
            "labels": {**_common_labels(), names.LABEL_DEPLOYMENT: owner.metadata.name},
        },
        "spec": {
            "type": "ClusterIP",
            "selector": pod_selector(owner.metadata.name, revision),
            "ports": _service_ports(owner, tls=tls),
        },
    }
    return adopt(service, owner_manifest(owner))


def _service_ports(owner: Deployment, *, tls: bool) -> list[dict[str, Any]]:
    def port(name: str, number: int, target: str, protocol: str) -> dict[str, Any]:
        return {"name": name, "port": number, "protocol": "TCP", "targetPort": target, "appProtocol": protocol}

    ports = [port("https", 443, "http", "https") if tls else port("http", 80, "http", "http")]
    if Protocol.GRPC in owner.spec.endpoint.protocols:
        ports.append(port("grpc", _GRPC_PORT, "grpc", "https" if tls else "kubernetes.io/h2c"))
    return ports


def pod_selector(deployment: str, revision: str) -> dict[str, str]:
    """Return the labels that only the pods of one revision have."""
    return {names.LABEL_DEPLOYMENT: deployment, names.LABEL_REVISION: revision}


def owner_manifest(owner: Deployment) -> Manifest:
    """Return as much of the Deployment as its children's owner references need."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": Deployment.kind,
        "metadata": {
            "name": owner.metadata.name,
            "namespace": owner.metadata.namespace,
            "uid": owner.metadata.uid,
        },
    }


def _common_labels() -> dict[str, str]:
    return {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_PART_OF: names.MANAGED_BY,
        names.LABEL_COMPONENT: "serving",
    }


def _labels(owner: Deployment, revision: Revision) -> dict[str, str]:
    return {
        **_common_labels(),
        **pod_selector(owner.metadata.name, revision.id),
        names.LABEL_MODEL: revision.model,
        names.LABEL_VERSION: str(revision.version),
    }


def build_pod(owner: Deployment, revision: Revision, pull_policy: str) -> Manifest:
    """Return the pod template of a revision."""
    template = owner.spec.endpoint.pod_template.model_copy(
        update={
            "labels": revision.labels,
            "annotations": revision.annotations,
            "runtime_class_name": revision.runtime_class_name,
        }
    )
    fetch = podspec.fetch_container(
        image=revision.image,
        pull_policy=pull_policy,
        sources=[named_source("model", revision)],
        mounts=[{"name": _MODEL_VOLUME, "mountPath": podspec.INPUTS_DIR}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - an emptyDir of the pod
    )
    return podspec.restricted_pod(
        template=template,
        labels={**_labels(owner, revision), names.LABEL_OWNER_UID: owner.metadata.uid},
        service_account=names.SERVER_SERVICE_ACCOUNT,
        init_containers=[fetch, *prediction_log.sidecars(owner, revision, pull_policy)],
        containers=[_server(owner, revision, pull_policy)],
        volumes=[
            {"name": _MODEL_VOLUME, "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            *_tls_volumes(revision),
            *prediction_log.volumes(owner),
        ],
        terminationGracePeriodSeconds=_grace_seconds(owner, revision),
        topologySpreadConstraints=[
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": pod_selector(owner.metadata.name, revision.id)},
            }
        ],
    )


def _grace_seconds(owner: Deployment, revision: Revision) -> int:
    seconds = DRAIN_SECONDS + revision.timeout_seconds + _GRACE_SECONDS
    return seconds + prediction_log.DELIVERY_SECONDS if prediction_log.logs_predictions(owner) else seconds


def _tls_volumes(revision: Revision) -> list[dict[str, Any]]:
    """Return the volume of the certificate and nothing else of its Secret.

    It is optional, since a pod that waits for a Secret does not say so; the server does, in its termination message.
    """
    if revision.tls_secret is None:
        return []
    items = [{"key": name, "path": name} for name in ("tls.crt", "tls.key")]
    secret = {"secretName": revision.tls_secret, "items": items, "defaultMode": 0o440, "optional": True}
    return [{"name": _TLS_VOLUME, "secret": secret}]


def _server(owner: Deployment, revision: Revision, pull_policy: str) -> Manifest:
    wanted = owner.spec.endpoint.resources
    variables = {
        "MODELYARD_MODEL_DIR": _MODEL_DIR,
        "MODELYARD_MODEL_NAME": revision.model,
        "MODELYARD_MODEL_VERSION": str(revision.version),
        "MODELYARD_MODEL_DIGEST": revision.digest,
        "MODELYARD_DEPLOYMENT": owner.metadata.name,
        "MODELYARD_TRACK": "stable",
        "MODELYARD_TIMEOUT_SECONDS": str(revision.timeout_seconds),
        "MODELYARD_MAX_REQUEST_BYTES": str(revision.max_request_bytes),
        "MODELYARD_MAX_ROWS": str(revision.max_rows),
        "MODELYARD_DRAIN_SECONDS": str(DRAIN_SECONDS),
        **prediction_log.server_variables(owner),
    }
    ports = [
        {"name": "http", "containerPort": 8080, "protocol": "TCP"},
        {"name": "metrics", "containerPort": 8081, "protocol": "TCP"},
    ]
    mounts = [
        {"name": _MODEL_VOLUME, "mountPath": _MODEL_DIR, "subPath": "model", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod
        *prediction_log.server_mounts(owner),
    ]
    if Protocol.GRPC in owner.spec.endpoint.protocols:
        variables["MODELYARD_GRPC_PORT"] = str(_GRPC_PORT)
        ports.append({"name": "grpc", "containerPort": _GRPC_PORT, "protocol": "TCP"})
    if revision.tls_secret:
        variables["MODELYARD_TLS_DIR"] = _TLS_DIR
        mounts.append({"name": _TLS_VOLUME, "mountPath": _TLS_DIR, "readOnly": True})
    if str((wanted.limits or {}).get(_GPU, 0)) != "0":
        variables["MODELYARD_DEVICE"] = "cuda"
    probe = partial(_probe, "HTTPS" if revision.tls_secret else None)
    return {
        "name": "server",
        "image": revision.image,
        "imagePullPolicy": pull_policy,
        "command": ["python", "-m", "modelyard.serving"],
        "env": podspec.environment(variables),
        "ports": ports,
        "startupProbe": probe("ready", periodSeconds=1, timeoutSeconds=1, failureThreshold=_START_SECONDS),
        "readinessProbe": probe("ready", periodSeconds=2, timeoutSeconds=2, failureThreshold=2),
        "livenessProbe": probe("live", periodSeconds=10, timeoutSeconds=5, failureThreshold=3),
        "resources": podspec.resources(wanted if wanted.requests or wanted.limits else _DEFAULT_RESOURCES),
        "securityContext": podspec.container_security(read_only_root=True),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _probe(scheme: str | None, kind: str, **timing: int) -> dict[str, Any]:
    get = {"path": f"/v2/health/{kind}", "port": "http", "scheme": scheme}
    return {"httpGet": {name: value for name, value in get.items() if value}, **timing}
