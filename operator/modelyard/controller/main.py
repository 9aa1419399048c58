"""The operator: which kinds it serves, what it caches, and which change causes which pass."""

import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from modelyard.api.v1alpha1 import KINDS, Deployment, ModelVersion, Observation, Pipeline, TrainingRun
from modelyard.api.v1alpha1.names import CHILD_SELECTOR, GROUP, VERSION
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.manifests import Manifest, ResourceType
from modelyard.controller.engine.runtime import KeysOf, Runtime, Trigger
from modelyard.controller.engine.settings import Settings, SettingsError, load_settings
from modelyard.controller.kinds.deployment.observe import (
    MODEL_INDEX,
    Deployments,
    deployment_of,
    models_of,
)
from modelyard.controller.kinds.jobreader import JobReader
from modelyard.controller.kinds.modelversion.observe import ModelVersions, conversions_of
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, lines_of
from modelyard.controller.kinds.observations import subject_of
from modelyard.controller.kinds.owned import OWNER_INDEX, owners_of
from modelyard.controller.kinds.pipeline.observe import (
    NAMESPACES,
    WATCHED_INDEX,
    Pipelines,
    Tenants,
    pipeline_of,
    watched_of,
)
from modelyard.controller.kinds.stepjob import Images
from modelyard.controller.kinds.trainingrun.earlier import IDENTITY_INDEX, identities_of
from modelyard.controller.kinds.trainingrun.observe import CONFIG_MAPS, TrainingRuns, maker_of, runs_of

OURS: Final = {kind: ResourceType(GROUP, VERSION, kind.plural, kind.kind) for kind in KINDS}
JOBS: Final = ResourceType("batch", "v1", "jobs", "Job")
PODS: Final = ResourceType("", "v1", "pods", "Pod")
SERVICES: Final = ResourceType("", "v1", "services", "Service")
WORKLOADS: Final = ResourceType("apps", "v1", "deployments", "Deployment")

_USAGE_ERROR: Final = 2


def main() -> None:
    """Run the operator until it is told to stop."""
    try:
        runtime = build(load_settings(os.environ, sys.argv[1:]))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is a setting
        sys.exit(_USAGE_ERROR)
    sys.exit(runtime.run())


def build(settings: Settings) -> Runtime:
    """Return the operator, ready to run."""
    runtime = Runtime(settings, [*OURS.values(), JOBS, PODS, SERVICES, WORKLOADS, CONFIG_MAPS, NAMESPACES])
    by_owner = {OWNER_INDEX: owners_of}
    pipelines = runtime.serve(OURS[Pipeline], indices={WATCHED_INDEX: watched_of})
    runs = runtime.serve(OURS[TrainingRun], indices={**by_owner, IDENTITY_INDEX: identities_of, LINE_INDEX: lines_of})
    versions = runtime.serve(OURS[ModelVersion], indices={LINE_INDEX: lines_of})
    deployments = runtime.serve(OURS[Deployment], indices={MODEL_INDEX: models_of})
    observations = runtime.serve(OURS[Observation])
    jobs = runtime.cache(JOBS, label_selector=CHILD_SELECTOR, indices=by_owner)
    pods = runtime.cache(PODS, label_selector=CHILD_SELECTOR, indices=by_owner)
    services = runtime.cache(SERVICES, label_selector=CHILD_SELECTOR, indices=by_owner)
    workloads = runtime.cache(WORKLOADS, label_selector=CHILD_SELECTOR, indices=by_owner)

    recipes = Pipelines(
        client=runtime.client,
        pipelines=pipelines,
        runs=runs,
        observations=observations,
        deployments=deployments,
        tenants=Tenants(runtime.client, _now),
        now=_now,
    )
    training = TrainingRuns(
        client=runtime.client,
        runs=runs,
        jobs=jobs,
        pods=pods,
        services=services,
        versions=versions,
        observations=observations,
        images=Images(settings.trainer_image, settings.image_pull_policy),
        execute=runtime.execute,
        now=_now,
    )
    registry = ModelVersions(
        versions=versions,
        observations=observations,
        jobs=JobReader(runtime.client, jobs, pods),
        images=training.images,
        now=_now,
    )
    serving = Deployments(
        deployments=deployments,
        versions=versions,
        workloads=workloads,
        pods=pods,
        services=services,
        server_image=settings.server_image,
        pull_policy=settings.image_pull_policy,
        now=_now,
    )
    runtime.reconcile(
        pipelines,
        recipes.plan,
        triggers=[
            Trigger(runs, pipeline_of),
            Trigger(observations, _subjects(Pipeline.kind)),
            Trigger(deployments, recipes.watchers),
        ],
    )
    runtime.reconcile(
        runs,
        training.plan,
        triggers=[
            Trigger(jobs, runs_of),
            Trigger(pods, runs_of),
            Trigger(services, runs_of),
            Trigger(observations, _subjects(TrainingRun.kind)),
            Trigger(versions, maker_of),
        ],
    )
    runtime.reconcile(
        versions,
        registry.plan,
        triggers=[
            Trigger(jobs, conversions_of),
            Trigger(pods, conversions_of),
            Trigger(observations, _subjects(ModelVersion.kind)),
            Trigger(versions, registry.siblings),
        ],
    )
    runtime.reconcile(
        deployments,
        serving.plan,
        triggers=[
            Trigger(workloads, deployment_of),
            Trigger(pods, deployment_of),
            Trigger(services, deployment_of),
            Trigger(versions, serving.followers),
        ],
    )
    return runtime


def _subjects(kind: str) -> KeysOf:
    """Map an Observation to its subject, if that is of this kind."""

    def keys_of(observation: Manifest) -> Iterable[Key]:
        return (key for key in subject_of(observation) if key.kind == kind)

    return keys_of


def _now() -> datetime:
    return datetime.now(UTC)
