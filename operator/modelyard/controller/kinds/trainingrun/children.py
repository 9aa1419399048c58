"""What a run makes: the Jobs of its steps, the version counter and the ModelVersion (docs/contracts.md). Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelyard.api.canonical import as_json, compact_json
from modelyard.api.v1alpha1.common import ResourceRequirements
from modelyard.api.v1alpha1.modelversion import (
    ModelVersion,
    ModelVersionSpec,
    Verdict,
)
from modelyard.api.v1alpha1.names import (
    API_VERSION,
    CHAMPION_INPUT,
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_MODEL,
    LABEL_OWNER_UID,
    LABEL_PART_OF,
    LABEL_QUEUE,
    LABEL_STEP,
    LABEL_TRAINING_RUN,
    LABEL_VERSION,
    MANAGED_BY,
    MODEL_OUTPUT,
    PREVIOUS_INPUT,
    PROFILE_OUTPUT,
    REGISTER_STEP,
    VALIDATE_STEP,
    VERSIONS_CONFIG_MAP,
    job_name,
    model_version_name,
)
from modelyard.api.v1alpha1.trainingrun import (
    Component,
    Judge,
    Step,
    StepPodTemplate,
    TrainingRun,
    TrainingRunSpec,
)
from modelyard.controller.engine.manifests import Manifest, adopt, name_of, namespace_of, uid_of
from modelyard.controller.kinds.podspec import (
    INPUTS_DIR,
    container_security,
    environment,
    resources,
    store_access,
)
from modelyard.controller.kinds.stepjob import (
    METRICS_FILE,
    OUTPUTS_DIR,
    WORK_DIR,
    Group,
    Images,
    build_container,
    build_fetch,
    build_job,
    build_publish,
    identity,
    mounts,
)
from modelyard.controller.kinds.trainingrun import courier, groups
from modelyard.controller.kinds.trainingrun.observed import Observed
from modelyard.controller.kinds.trainingrun.results import RegisterResult
from modelyard.handover import (
    evaluation_document,
    expectations,
    input_sources,
    named_source,
    outputs_of,
    parameters_document,
    register_sources,
    step_sources,
)
from modelyard.lineage.record import record_of
from modelyard.lineage.run import RunRecord, run_to_environment

RECORD_VARIABLE: Final = "MODELYARD_RECORD"
SOURCES_VARIABLE: Final = "MODELYARD_SOURCES"

_COMPONENTS: Final = {Component.TABULAR_PREPARE: "prepare", Component.TABULAR_TRAIN: "train"}
MAX_EXPECTATIONS_BYTES: Final = 96 * 1024
"""Linux refuses longer environment variables from 128 KiB on."""

_OWN_RESOURCES: Final = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}


def build_step_job(observed: Observed, step: Step, attempt: int) -> Manifest:
    """Return the Job of one attempt of a step: fetch, then the step's own work, then publish."""
    run, images = observed.run, observed.images
    own = identity(run.metadata.uid, step.name, attempt)
    variables = {"MODELYARD_PARAMETERS": parameters_document(run, step.name), **courier.fetch_variables(step, own)}
    return _job(
        observed.manifest,
        run,
        step=step.name,
        attempt=attempt,
        deadline=step.active_deadline_seconds,
        template=step.pod_template,
        init_containers=[
            build_fetch(images, step_sources(run, step, observed.champion), step.outputs, variables),
            *courier.sidecars(images, step, own),
            _run_container(images, run, step, attempt),
        ],
        container=build_publish(images, own, step.outputs, courier.publish_variables(step)),
        grace_period=courier.grace_period(step),
        name=groups.name_of_job(run.metadata.name, step, attempt),
        group=groups.group_of(run.metadata.name, step, attempt),
    )


def build_validate_job(observed: Observed, attempt: int) -> Manifest:
    """Return the Job of the step that checks the inputs; it knows the previous run's profile, if there is one."""
    run, images = observed.run, observed.images
    checked = expectations(run.spec)
    wanted = [known for name, known in input_sources(run).items() if name in checked]
    if previous := observed.previous_profile:
        wanted.append(named_source(PREVIOUS_INPUT, previous))
    failure = {"MODELYARD_FAILURE_FILE": f"{WORK_DIR}/failure.json"}
    validate = build_container(
        images,
        name=VALIDATE_STEP,
        module="validate",
        variables={
            "MODELYARD_INPUTS_DIR": INPUTS_DIR,
            "MODELYARD_OUTPUTS_DIR": OUTPUTS_DIR,
            "MODELYARD_EXPECTATIONS": expectations_of(run.spec),
            **failure,
        },
        wanted=_OWN_RESOURCES,
        read_only=("inputs",),
    )
    outputs = (PROFILE_OUTPUT,)
    return _job(
        observed.manifest,
        run,
        step=VALIDATE_STEP,
        attempt=attempt,
        deadline=None,
        template=StepPodTemplate(),
        init_containers=[build_fetch(images, wanted, outputs), validate],
        container=build_publish(images, identity(run.metadata.uid, VALIDATE_STEP, attempt), outputs, failure),
    )


def expectations_of(spec: TrainingRunSpec) -> str:
    """Return what is expected of each input, as `MODELYARD_EXPECTATIONS` has it."""
    return compact_json(expectations(spec))


def build_register_job(observed: Observed, version: int, attempt: int) -> Manifest:
    """Return the Job of the step that validates, judges and records the model under a version number."""
    run, images, evaluation = observed.run, observed.images, observed.run.spec.evaluation
    maker = next(step for step in run.spec.steps if MODEL_OUTPUT in step.outputs)
    variables = {
        **identity(run.metadata.uid, REGISTER_STEP, attempt),
        RECORD_VARIABLE: compact_json(
            as_json(record_of(run, version, outputs_of(run)[MODEL_OUTPUT], observed.champion))
        ),
        "MODELYARD_INPUTS_DIR": INPUTS_DIR,
        **run_to_environment(RunRecord.of(run)),
    }
    if evaluation:
        scored = _scored_champion(observed) if evaluation.by is Judge.STEP else observed.champion
        variables["MODELYARD_EVALUATION"] = evaluation_document(run, evaluation, scored)
    register = build_container(
        images,
        name=REGISTER_STEP,
        module="register",
        variables=variables,
        wanted=_without_devices(maker.resources),
        read_only=("inputs",),
    )
    return _job(
        observed.manifest,
        run,
        step=REGISTER_STEP,
        attempt=attempt,
        deadline=None,
        template=StepPodTemplate(),
        init_containers=[
            build_fetch(
                images,
                register_sources(run, observed.champion),
                (),
                {"MODELYARD_PARAMETERS": parameters_document(run, REGISTER_STEP)},
            )
        ],
        container={**register, "envFrom": store_access()},
    )


def build_suspension(run: Manifest, job: Manifest, *, suspend: bool) -> Manifest:
    """Return what stops or resumes a Job; nothing but its `suspend` changes."""
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name_of(job), "namespace": namespace_of(job), "uid": uid_of(job)},
        "spec": {"suspend": suspend},
    }
    return adopt(manifest, run)


def build_counter(namespace: str, counter: Manifest | None, entries: Mapping[str, str]) -> Manifest:
    """Return the ConfigMap of version numbers with `entries` set, bound to the version of it that was read."""
    metadata: dict[str, Any] = {
        "name": VERSIONS_CONFIG_MAP,
        "namespace": namespace,
        "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_PART_OF: MANAGED_BY},
    }
    if counter:
        metadata["resourceVersion"] = counter["metadata"]["resourceVersion"]
    data = {**((counter or {}).get("data") or {}), **entries}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def read_record(register_job: Manifest) -> ModelVersionSpec | None:
    """Return the record that a register Job was made with, or None when it cannot be read."""
    try:
        return ModelVersionSpec.model_validate_json(_variable(register_job, REGISTER_STEP, RECORD_VARIABLE))
    except ValueError:
        return None


def job_sources(job: Manifest) -> tuple[dict[str, str], ...] | None:
    """Return what a step's Job was made to read, or None when it does not say so."""
    try:
        return tuple(json.loads(_variable(job, "fetch", SOURCES_VARIABLE)))
    except ValueError:
        return None


def job_image(job: Manifest) -> str | None:
    """Return the image of a step's own work as its Job names it."""
    return next((str(c["image"]) for c in _containers(job) if c["name"] == "run"), None)


def build_model_version(
    observed: Observed, record: ModelVersionSpec, result: RegisterResult, *, champion_moved: str | None
) -> Manifest:
    """Return the ModelVersion: the record with register's findings. It has no owner, since versions outlive runs.

    Args:
        observed: the run.
        record: what the register Job was made with.
        result: what it found.
        champion_moved: why its verdict does not hold, None when it does.
    """
    found = result.artifact
    artifact = record.artifact.model_copy(
        update={"schema_digest": found.schema_digest, "dataset_digest": found.dataset_digest}
    )
    evaluation = result.evaluation
    if evaluation and champion_moved:
        evaluation = evaluation.model_copy(update={"verdict": Verdict.CHAMPION_MOVED, "message": champion_moved})
    spec = record.model_copy(update={"artifact": artifact, "evaluation": evaluation})
    run = observed.run
    return {
        "apiVersion": API_VERSION,
        "kind": ModelVersion.kind,
        "metadata": {
            "name": model_version_name(spec.model, spec.version),
            "namespace": run.metadata.namespace,
            "labels": {**_common_labels(run), LABEL_VERSION: str(spec.version)},
        },
        "spec": as_json(spec),
    }


def _common_labels(run: TrainingRun) -> dict[str, str]:
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: MANAGED_BY,
        LABEL_COMPONENT: "training",
        LABEL_OWNER_UID: run.metadata.uid,
        LABEL_MODEL: run.spec.model,
    }


def _job(
    manifest: Manifest,
    run: TrainingRun,
    *,
    step: str,
    attempt: int,
    deadline: int | None,
    template: StepPodTemplate,
    init_containers: Sequence[Manifest],
    container: Manifest,
    grace_period: int | None = None,
    name: str | None = None,
    group: Group | None = None,
) -> Manifest:
    labels = {
        **_common_labels(run),
        LABEL_TRAINING_RUN: run.metadata.name,
        LABEL_STEP: step,
        LABEL_ATTEMPT: str(attempt),
    }
    return build_job(
        manifest,
        name=name or job_name(run.metadata.name, step, attempt),
        labels=labels,
        init_containers=init_containers,
        container=container,
        template=template,
        deadline=deadline,
        grace_period=grace_period,
        group=group,
        queue=run.metadata.labels.get(LABEL_QUEUE),
    )


def _run_container(images: Images, run: TrainingRun, step: Step, attempt: int) -> Manifest:
    """Return the step's own work. It sees files only: no store, no token."""
    own = {variable.name for variable in step.env}
    variables = {
        "MODELYARD_INPUTS_DIR": INPUTS_DIR,
        "MODELYARD_OUTPUTS_DIR": OUTPUTS_DIR,
        "MODELYARD_PARAMETERS_FILE": f"{INPUTS_DIR}/.modelyard/parameters.json",
        "MODELYARD_METRICS_FILE": METRICS_FILE,
        "MODELYARD_SEED": str(run.spec.seed),
        "HOME": WORK_DIR,
        "TMPDIR": f"{WORK_DIR}/tmp",  # noqa: S108 - in the step's own volume
        **courier.run_variables(step),
    }
    volumes = mounts(read_only=("inputs",))
    if step.pod_template.shared_memory is not None:
        volumes.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 - a volume of the pod's own
    container: Manifest = {
        "name": "run",
        "image": step.image or images.trainer,
        "env": [
            *environment({name: value for name, value in variables.items() if name not in own}),
            *(told for told in groups.variables(run.metadata.name, step, attempt) if told["name"] not in own),
            *({"name": variable.name, "value": variable.value} for variable in step.env),
        ],
        "resources": resources(step.resources),
        "securityContext": container_security(read_only_root=False),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": volumes,
    }
    if step.uses:
        container["imagePullPolicy"] = images.pull_policy
        container["command"] = ["python", "-m", "modelyard.steps.tabular", _COMPONENTS[step.uses]]
    if step.command:
        container["command"] = list(step.command)
    if step.args:
        container["args"] = list(step.args)
    if step.working_dir:
        container["workingDir"] = step.working_dir
    if step.env_from:
        container["envFrom"] = [s.model_dump(by_alias=True, exclude_defaults=True, mode="json") for s in step.env_from]
    return container


def _without_devices(wanted: ResourceRequirements) -> dict[str, dict[str, Any]]:
    """Return the CPU and memory of the step that made the model: who judges it holds as much data, but needs no GPU."""
    given = resources(wanted)
    return {
        part: {**defaults, **{k: v for k, v in given.get(part, {}).items() if k in {"cpu", "memory"}}}
        for part, defaults in _OWN_RESOURCES.items()
    }


def _scored_champion(observed: Observed) -> ModelVersion | None:
    """Return the champion of which a step's numbers speak: the one that it was given, which may have been beaten since.

    A step that was given none by us got it in a way of its own; then it is today's.
    """
    for step in reversed(observed.run.spec.steps):
        if CHAMPION_INPUT in step.inputs and (attempts := observed.attempts.get(step.name)):
            read = job_sources(attempts[-1].manifest) or ()
            digest = next((known["digest"] for known in read if known["name"] == CHAMPION_INPUT), None)
            return next((v for v in observed.versions if v.spec.artifact.digest == digest), None)
    return observed.champion


def _variable(job: Manifest, container: str, name: str) -> str:
    """Return the value of a container's environment variable, empty when there is none."""
    variables = (v for c in _containers(job) if c["name"] == container for v in c.get("env", ()))
    return next((str(v.get("value", "")).replace("$$", "$") for v in variables if v["name"] == name), "")


def _containers(job: Manifest) -> list[Manifest]:
    pod = job["spec"].get("template", {}).get("spec", {})
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]
