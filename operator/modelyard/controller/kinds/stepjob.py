"""The Job of one attempt of one step: fetch, the work without a store, publish (docs/contracts.md). Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelyard.api.canonical import compact_json
from modelyard.api.v1alpha1.names import LABEL_QUEUE, STEP_SERVICE_ACCOUNT
from modelyard.api.v1alpha1.trainingrun import StepPodTemplate
from modelyard.controller.engine.manifests import Manifest, adopt, namespace_of
from modelyard.controller.kinds.podspec import (
    INPUTS_DIR,
    container_security,
    environment,
    fetch_container,
    helper_resources,
    restricted_pod,
    store_access,
)

WORK_DIR: Final = "/modelyard/work"
OUTPUTS_DIR: Final = f"{WORK_DIR}/outputs"
METRICS_FILE: Final = f"{WORK_DIR}/metrics.jsonl"
TMP_MOUNT: Final = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a volume of the pod's own
_DISRUPTED: Final = [{"type": "DisruptionTarget", "status": "True"}]


@dataclass(frozen=True)
class Group:
    """Pods that work together.

    Attributes:
        nodes: how many there are.
        service: the headless Service that makes their names known.
    """

    nodes: int
    service: str


@dataclass(frozen=True)
class Images:
    """What the operator runs in steps."""

    trainer: str
    pull_policy: str


def build_job(
    owner: Manifest,
    *,
    name: str,
    labels: Mapping[str, str],
    init_containers: Sequence[Manifest],
    container: Manifest,
    template: StepPodTemplate | None = None,
    deadline: int | None = None,
    ttl: int | None = None,
    grace_period: int | None = None,
    group: Group | None = None,
    queue: str | None = None,
) -> Manifest:
    """Return a Job that runs once; a pod that its node loses does not count as a failure.

    Args:
        owner: whose Job it is; in its namespace.
        name: name of the Job.
        labels: labels of the Job and its pod.
        init_containers: fetch and, if it opens no store, the work.
        container: what ends last; its termination message is the result.
        template: what the user says about the pod.
        deadline: seconds that the Job may take.
        ttl: seconds after its end until Kubernetes deletes it.
        grace_period: seconds that its pod gets when it is taken away; absent = Kubernetes' default.
        group: given for a Job of several pods. These end and start together, so the loss of one is the end of the Job.
        queue: given for a Job that Kueue starts: it is made suspended, and what Kueue changes of it is Kueue's.
    """
    template = template or StepPodTemplate()
    pod = restricted_pod(
        template=template,
        labels=labels,
        service_account=template.service_account_name or STEP_SERVICE_ACCOUNT,
        init_containers=init_containers,
        containers=[container],
        volumes=_volumes(template),
        restartPolicy="Never",
        terminationGracePeriodSeconds=grace_period,
        subdomain=group.service if group else None,
    )
    spec = {
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [{"action": "FailJob" if group else "Ignore", "onPodConditions": _DISRUPTED}],
        },
        "podReplacementPolicy": "Failed",
        "template": pod,
    }
    if queue:
        spec["suspend"] = True
    if group:
        spec |= {"completionMode": "Indexed", "completions": group.nodes, "parallelism": group.nodes}
    if deadline:
        spec["activeDeadlineSeconds"] = deadline
    if ttl:
        spec["ttlSecondsAfterFinished"] = ttl
    queued = {LABEL_QUEUE: queue} if queue else {}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace_of(owner), "labels": {**labels, **queued}},
        "spec": spec,
    }
    return adopt(job, owner)


def build_fetch(
    images: Images,
    sources: Sequence[Mapping[str, str]],
    outputs: Sequence[str],
    variables: Mapping[str, str] | None = None,
) -> Manifest:
    """Return the init container that fetches the inputs and makes the folders of the outputs."""
    return fetch_container(
        image=images.trainer,
        pull_policy=images.pull_policy,
        sources=sources,
        mounts=[*mounts(), TMP_MOUNT],
        variables={**(variables or {}), "MODELYARD_OUTPUTS": compact_json(list(outputs))},
    )


def build_publish(
    images: Images, identity: Mapping[str, str], outputs: Sequence[str], variables: Mapping[str, str] | None = None
) -> Manifest:
    """Return the container that uploads the outputs and answers with what they hash to.

    Args:
        images: what it runs.
        identity: whose result it is.
        outputs: names of the outputs.
        variables: further environment variables.
    """
    variables = {
        **identity,
        "MODELYARD_OUTPUTS": compact_json(list(outputs)),
        "MODELYARD_OUTPUTS_DIR": OUTPUTS_DIR,
        "MODELYARD_METRICS_FILE": METRICS_FILE,
        **(variables or {}),
    }
    return {
        **build_container(
            images,
            name="publish",
            module="publish",
            variables=variables,
            wanted=helper_resources(),
            read_only=("inputs", "workspace"),
        ),
        "envFrom": store_access(),
    }


def build_container(
    images: Images,
    *,
    name: str,
    module: str,
    variables: Mapping[str, str],
    wanted: Mapping[str, Any],
    read_only: Iterable[str],
) -> Manifest:
    """Return a container that runs a module of `modelyard.steps`, without the store.

    Args:
        images: what it runs.
        name: name of the container.
        module: name of the module.
        variables: environment variables.
        wanted: resources.
        read_only: volumes that it may not write to.
    """
    return {
        "name": name,
        "image": images.trainer,
        "imagePullPolicy": images.pull_policy,
        "command": ["python", "-m", f"modelyard.steps.{module}"],
        "env": environment(variables),
        "resources": dict(wanted),
        "securityContext": container_security(read_only_root=True),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*mounts(read_only=read_only), TMP_MOUNT],
    }


def identity(owner_uid: str, step: str, attempt: int) -> dict[str, str]:
    """Return whose result it is: `runs/<uid>/<step>/<attempt>/result.json`."""
    return {"MODELYARD_RUN_UID": owner_uid, "MODELYARD_STEP": step, "MODELYARD_ATTEMPT": str(attempt)}


def mounts(*, read_only: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return the mounts of the volumes that all containers of a step share."""
    paths = {"inputs": INPUTS_DIR, "workspace": WORK_DIR}
    shared: list[dict[str, Any]] = [{"name": name, "mountPath": path} for name, path in paths.items()]
    return [{**mount, "readOnly": True} if mount["name"] in read_only else mount for mount in shared]


def _volumes(template: StepPodTemplate) -> list[Manifest]:
    workspace = {"sizeLimit": str(template.workspace)} if template.workspace is not None else {}
    volumes: list[Manifest] = [
        {"name": "inputs", "emptyDir": {}},
        {"name": "workspace", "emptyDir": workspace},
        {"name": "tmp", "emptyDir": {}},
    ]
    if template.shared_memory is not None:
        memory = {"medium": "Memory", "sizeLimit": str(template.shared_memory)}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
    return volumes
