from typing import Any, cast

from modelyard.controller.engine.kube import KubeClient
from modelyard.controller.engine.manifests import ResourceType
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.jobreader import JobReader
from modelyard.controller.kinds.modelversion.observe import ModelVersions
from modelyard.controller.kinds.modelversion.versions import LINE_INDEX, lines_of, read_versions
from modelyard.controller.kinds.owned import OWNER_INDEX, owners_of
from modelyard.controller.kinds.stepjob import Images
from tests.unit.kinds.modelversion.test_decide import CREATED, DIGEST


def manifest(number: int, model: str = "flight-delay", **more: Any) -> dict[str, Any]:
    metadata = {
        "name": f"{model}-v{number}",
        "namespace": "air",
        "uid": f"uid-{model}-{number}",
        "resourceVersion": str(number),
    }
    artifact = {"uri": f"s3://air/blobs/sha256/{'a' * 64}", "digest": DIGEST}
    spec = {"model": model, "version": number, "artifact": artifact, **more}
    return {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelVersion", "metadata": metadata, "spec": spec}


def registry() -> ModelVersions:
    group = ("modelyard.dev", "v1alpha1")
    versions = Store(ResourceType(*group, "modelversions", "ModelVersion"), indices={LINE_INDEX: lines_of})
    for stored in (manifest(1), manifest(2), manifest(3, "churn")):
        versions.put(stored)
    observations = Store(ResourceType(*group, "observations", "Observation"))
    jobs = Store(ResourceType("batch", "v1", "jobs", "Job"), indices={OWNER_INDEX: owners_of})
    pods = Store(ResourceType("", "v1", "pods", "Pod"), indices={OWNER_INDEX: owners_of})
    reader = JobReader(cast("KubeClient", None), jobs, pods)
    return ModelVersions(versions, observations, reader, Images("trainer:1", "IfNotPresent"), lambda: CREATED)


def test_siblings_are_the_versions_of_the_same_model() -> None:
    found = registry().siblings(manifest(1))
    assert sorted(key.name for key in found) == ["flight-delay-v1", "flight-delay-v2"]


def test_a_version_that_cannot_be_read_is_left_out() -> None:
    assert [v.spec.version for v in read_versions([manifest(8), manifest(9, format="Safetensors")])] == [8]


async def test_a_version_of_a_newer_operator_is_left_alone() -> None:
    plan = await registry().plan(manifest(9, format="Safetensors"))
    assert plan.status is None


async def test_a_version_is_planned_with_its_siblings() -> None:
    plan = await registry().plan(manifest(1))
    assert plan.status == {"champion": "No"}
