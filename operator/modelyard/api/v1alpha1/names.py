"""Names, labels and field managers that more than one part of Modelyard relies on (docs/contracts.md)."""

import hashlib
from typing import Final

GROUP: Final = "modelyard.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

LABEL_OWNER_UID: Final = f"{GROUP}/owner-uid"
LABEL_TRAINING_RUN: Final = f"{GROUP}/training-run"
LABEL_PIPELINE: Final = f"{GROUP}/pipeline"
LABEL_STEP: Final = f"{GROUP}/step"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_MODEL: Final = f"{GROUP}/model"
LABEL_VERSION: Final = f"{GROUP}/version"
LABEL_DEPLOYMENT: Final = f"{GROUP}/deployment"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_TENANT: Final = f"{GROUP}/tenant"
LABEL_ENVIRONMENT: Final = f"{GROUP}/environment"
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "modelyard"
CHILD_SELECTOR: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

ANNOTATION_RUN_NOW: Final = f"{GROUP}/run-now"
ANNOTATION_TEMPLATE_DIGEST: Final = f"{GROUP}/template-digest"

FIELD_MANAGER: Final = "modelyard-operator"
STATUS_FIELD_MANAGER: Final = "modelyard-operator-status"
AGENT_FIELD_MANAGER: Final = "modelyard-agent"

STORE_SECRET: Final = "modelyard-store"  # noqa: S105 - the name of the Secret, not its content
STEP_SERVICE_ACCOUNT: Final = "modelyard-step"
STEP_ACCESS_PREFIX: Final = "modelyard-step-"
"""What the name of a Secret, ConfigMap or ServiceAccount begins with that a step may name (docs/adr/0005)."""
SERVER_SERVICE_ACCOUNT: Final = "modelyard-server"
VERSIONS_CONFIG_MAP: Final = "modelyard-versions"

MAX_RUN_NAME: Final = 40
MAX_PIPELINE_NAME: Final = 31
MAX_STEP_NAME: Final = 18
MAX_MODEL_NAME: Final = 50
MAX_DEPLOYMENT_NAME: Final = 45

MAX_NODES: Final = 99
MAX_GROUP_NAME: Final = 60

_KEPT: Final = 45
_HASH: Final = 10

MODEL_OUTPUT: Final = "model"
CHAMPION_INPUT: Final = "champion"
REGISTER_STEP: Final = "register"
VALIDATE_STEP: Final = "validate"
PROFILE_OUTPUT: Final = "profile"
PREVIOUS_INPUT: Final = "previous"
CONVERT_STEP: Final = "convert"


def pipeline_run_name(pipeline: str, trigger_key: str) -> str:
    """Return the name of the TrainingRun that a trigger starts; at most 40 characters.

    Args:
        pipeline: name of the Pipeline.
        trigger_key: key of the trigger, of at least 8 hexadecimal digits.
    """
    return f"{pipeline}-{trigger_key[:8]}"


def group_job_name(run: str, step: str, attempt: int) -> str:
    """Return the name of the Job of one attempt of a step of several nodes; at most 60 characters.

    Each pod's host name is this name with the pod's rank after it. Of a long run the start and a hash are taken.
    """
    name, rest = job_name(run, step, attempt), f"-{step}-{attempt}"
    if len(name) <= MAX_GROUP_NAME:
        return name
    digest = hashlib.sha256(run.encode()).hexdigest()[:_HASH]
    return f"{run[: MAX_GROUP_NAME - len(rest) - _HASH - 1]}-{digest}{rest}"


def group_service_name(job: str) -> str:
    """Return the name of the Service of a group's Job; it must begin with a letter, the Job's need not."""
    return job if job[0].isalpha() else f"n{job}"


def job_name(run: str, step: str, attempt: int) -> str:
    """Return the name of the Job of one attempt of one step; at most 62 characters."""
    return f"{run}-{step}-{attempt}"


def model_version_name(model: str, version: int | str) -> str:
    """Return the name of a ModelVersion; at most 63 characters."""
    return f"{model}-v{version}"


def conversion_job_name(version: str, attempt: int) -> str:
    """Return the name of the Job of one attempt to convert a ModelVersion; at most 61 characters.

    Args:
        version: name of the ModelVersion; of a long one the start and a hash are taken.
        attempt: number of the attempt, from 1.
    """
    short = (
        version
        if len(version) <= _KEPT
        else f"{version[: _KEPT - 11]}-{hashlib.sha256(version.encode()).hexdigest()[:10]}"
    )
    return f"{short}-{CONVERT_STEP}-{attempt}"


def revision_name(deployment: str, revision: str) -> str:
    """Return the name of the apps/v1 Deployment of one revision; at most 56 characters."""
    return f"{deployment}-{revision}"


def observation_name(kind: str, name: str) -> str:
    """Return the name of the Observation of a subject."""
    return f"{kind.lower()}-{name}"
