from typing import Any

import pytest

from modelyard.api.v1alpha1 import Deployment
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.manifests import Manifest, ResourceType
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.deployment.observe import (
    MODEL_INDEX,
    Deployments,
    deployment_of,
    models_of,
)
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, lines_of
from modelyard.controller.kinds.owned import OWNER_INDEX, owners_of
from tests.unit.kinds.deployment.world import START, version


@pytest.fixture
def deployments() -> Deployments:
    by_owner = {OWNER_INDEX: owners_of}
    return Deployments(
        deployments=Store(
            ResourceType("modelyard.dev", "v1alpha1", "deployments", "Deployment"), indices={MODEL_INDEX: models_of}
        ),
        versions=Store(
            ResourceType("modelyard.dev", "v1alpha1", "modelversions", "ModelVersion"), indices={LINE_INDEX: lines_of}
        ),
        workloads=Store(ResourceType("apps", "v1", "deployments", "Deployment"), indices=by_owner),
        pods=Store(ResourceType("", "v1", "pods", "Pod"), indices=by_owner),
        services=Store(ResourceType("", "v1", "services", "Service")),
        server_image="server:1",
        pull_policy="IfNotPresent",
        now=lambda: START,
    )


def stored(manifest: Manifest, resource_version: int = 1) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(resource_version)}}


def deployment(asked: dict[str, Any], **status: Any) -> Manifest:
    metadata = {"name": "delay", "namespace": "air", "uid": "owner-1", "generation": 1}
    return stored({"kind": "Deployment", "metadata": metadata, "spec": {"model": asked}, "status": status})


def served(model: str, number: int) -> dict[str, Any]:
    digest = version(number)["spec"]["artifact"]["digest"]
    return {"name": model, "version": number, "digest": digest, "revision": "0123456789"}


def test_versions_of_the_asked_the_served_and_the_past_models_are_read(deployments: Deployments) -> None:
    for model in ("delay", "served", "past", "other"):
        deployments.versions.put(stored(version(1, model=model)))
    history = [{**served("past", 1), "fromTime": "2026-11-01T00:00:00Z", "reason": "the spec asks for it"}]
    manifest = deployment({"name": "delay", "version": 1}, model=served("served", 1), history=history)
    observed = deployments.observe(Deployment.model_validate(manifest))
    assert {v.spec.model for v in observed.versions} == {"delay", "served", "past"}


def test_service_of_somebody_else_is_not_taken_for_ours(deployments: Deployments) -> None:
    owner = {"controller": True, "kind": "Deployment", "name": "delay", "uid": "predecessor"}
    metadata = {"name": "delay", "namespace": "air", "uid": "service-1", "ownerReferences": [owner]}
    deployments.services.put(stored({"kind": "Service", "metadata": metadata, "spec": {}}))
    manifest = deployment({"name": "delay", "version": 1})
    assert deployments.observe(Deployment.model_validate(manifest)).service is None


@pytest.mark.parametrize("model", ["delay", "served"])
def test_version_wakes_the_deployments_that_ask_for_its_model_or_serve_it(deployments: Deployments, model: str) -> None:
    deployments.deployments.put(deployment({"name": "delay", "version": 1}, model=served("served", 1)))
    assert list(deployments.followers(stored(version(9, model=model)))) == [Key("Deployment", "air", "delay")]
    assert list(deployments.followers(stored(version(9, model="other")))) == []


def test_child_wakes_its_deployment() -> None:
    labels = {"modelyard.dev/deployment": "delay"}
    assert list(deployment_of({"metadata": {"namespace": "air", "labels": labels}})) == [
        Key("Deployment", "air", "delay")
    ]
    assert list(deployment_of({"metadata": {"namespace": "air"}})) == []


async def test_deployment_that_cannot_be_read_says_so_and_keeps_its_children(deployments: Deployments) -> None:
    manifest = deployment({"name": "delay", "alias": "latest"}, url="http://delay.air.svc", observedGeneration=1)
    plan = await deployments.plan(manifest)
    assert (plan.apply, plan.delete, plan.status) == ((), (), {"url": "http://delay.air.svc"})
    ready = next(condition for condition in plan.conditions if condition.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "InvalidSpec")
    assert "spec.model.alias" in ready.message
