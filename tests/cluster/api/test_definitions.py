"""The CRDs as a cluster has them: defaults, bounds, columns, scale, and nothing that they do not know."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.generate import REPOSITORY
from modelyard.api.schema.crd import columns
from modelyard.api.v1alpha1 import KINDS, Deployment
from modelyard.api.v1alpha1.common import CustomResource
from tests.cluster.api.conftest import RefusedError, Resources
from tests.cluster.api.objects import DIGEST, FULL, MINIMAL, merged
from tests.support.controlplane import ClusterAccess

pytestmark = pytest.mark.cluster

FILES = sorted((REPOSITORY / "crds").glob("*.yaml"))
EXAMPLES = sorted((REPOSITORY / "examples").glob("*/*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_definition_is_small_and_applies_twice_without_a_change(definitions: ClusterAccess, file: Path) -> None:
    assert file.stat().st_size < 200_000
    before = _definition(definitions, file)
    definitions.apply(file)
    assert _definition(definitions, file)["metadata"] == before["metadata"]
    conditions = {condition["type"]: condition["status"] for condition in before["status"]["conditions"]}
    assert conditions.items() >= {"Established": "True", "NamesAccepted": "True"}.items()
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("kind", MINIMAL)
def test_smallest_object_is_accepted(undecided: Resources, kind: str) -> None:
    undecided.create(MINIMAL[kind], dry_run=True)


@pytest.mark.parametrize("kind", FULL)
def test_object_with_every_field_is_accepted(undecided: Resources, kind: str) -> None:
    undecided.create(FULL[kind], dry_run=True)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_example_is_accepted(undecided: Resources, file: Path) -> None:
    undecided.create(yaml.safe_load(file.read_text()), dry_run=True)


def test_defaults_appear_in_what_is_stored(undecided: Resources) -> None:
    assert undecided.create(MINIMAL["Deployment"], dry_run=True)["spec"] == {
        "model": {"name": "m", "version": 1},
        "endpoint": {"replicas": 1, "timeoutSeconds": 10, "maxRequestBytes": 16_777_216, "maxRows": 65_536},
        "rollout": {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 3, "paused": False},
    }
    assert undecided.create(MINIMAL["TrainingRun"], dry_run=True)["spec"] == {
        "model": "m",
        "steps": [
            {
                "name": "train",
                "image": "i",
                "cache": "Auto",
                "numNodes": 1,
                "backoffLimit": 2,
                "progress": "AtEnd",
            }
        ],
        "seed": 0,
        "backoffLimit": 3,
        "suspend": False,
    }


@pytest.mark.parametrize("kind", MINIMAL)
def test_nothing_but_a_person_or_the_operator_writes_status(resources: Resources, kind: str) -> None:
    stored = resources.create(merged(MINIMAL[kind], {"status": {"observedGeneration": 9}}))
    assert "status" not in stored


@pytest.mark.parametrize(
    ("kind", "changes", "field", "problem"),
    [
        ("TrainingRun", {"spec": {"inputs": [{"name": "a", "uri": "ftp://x/y"}]}}, "spec.inputs[0].uri", "s3|gs|az"),
        ("TrainingRun", {"spec": {"inputs": [{"name": "a", "uri": "git+https://h/r"}]}}, "spec.inputs[0].uri", "git"),
        (
            "TrainingRun",
            {"spec": {"inputs": [{"name": "a", "uri": "git+https://u:p@h/r@v1"}]}},
            "spec.inputs[0].uri",
            "git",
        ),
        ("TrainingRun", {"spec": {"inputs": [{"name": "a", "uri": "git+ssh://h/r@v1"}]}}, "spec.inputs[0].uri", "git"),
        ("TrainingRun", {"spec": {"steps": []}}, "spec.steps", "at least 1"),
        ("TrainingRun", {"spec": {"seed": 1.5}}, "spec.seed", "must be of type int32"),
        (
            "TrainingRun",
            {"spec": {"steps": [{"name": "a", "image": "i"}, {"name": "a", "image": "j"}]}},
            "spec.steps[1]",
            "Duplicate value",
        ),
        (
            "TrainingRun",
            {"spec": {"steps": [{"name": "a", "image": "i", "resources": {"limits": {"memory": "1 GB"}}}]}},
            "spec.steps[0].resources.limits.memory",
            "should match",
        ),
        ("ModelVersion", {"spec": {"artifact": {"digest": "sha256:abc"}}}, "spec.artifact.digest", "should match"),
        ("ModelVersion", {"spec": {"format": "Safetensors"}}, "spec.format", 'supported values: "ONNX", "Pickle"'),
        (
            "Deployment",
            {"spec": {"endpoint": {"replicas": -1}}},
            "spec.endpoint.replicas",
            "greater than or equal to 0",
        ),
        ("Deployment", {"spec": {"model": None}}, "spec.model", "Required value"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(
    undecided: Resources, kind: str, changes: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        undecided.create(merged(MINIMAL[kind], changes), dry_run=True)
    named = [message for where, message in refused.value.causes if where == field]
    assert len(named) == 1
    assert problem in named[0]


def test_amount_of_a_resource_may_be_a_number_or_a_quantity(undecided: Resources) -> None:
    limits = {"nvidia.com/gpu": 1, "memory": "1.5Gi", "cpu": "500m"}
    changes = {"spec": {"endpoint": {"resources": {"limits": limits}}}}
    stored = undecided.create(merged(MINIMAL["Deployment"], changes), dry_run=True)
    assert stored["spec"]["endpoint"]["resources"]["limits"] == limits


def test_fields_of_a_newer_operator_are_kept_out_and_do_not_disturb_reading(resources: Resources) -> None:
    newer = merged(
        MINIMAL["Deployment"], {"spec": {"batch": {"parallelism": 2}, "endpoint": {"gatewayRef": {"name": "g"}}}}
    )
    resources.create(newer)
    stored = resources.get("Deployment", "serve")
    assert "batch" not in stored["spec"]
    assert "gatewayRef" not in stored["spec"]["endpoint"]
    assert Deployment.model_validate(merged(stored, newer)).spec.endpoint.replicas == 1


def test_strict_client_is_told_about_an_unknown_field(definitions: ClusterAccess) -> None:
    document = json.dumps(merged(MINIMAL["Deployment"], {"spec": {"rollout": {"puased": True}}}))
    answer = definitions.kubectl("create", "--dry-run=server", "-f", "-", document=document, check=False)
    assert 'unknown field "spec.rollout.puased"' in answer


def test_scale_changes_replicas_and_reads_status(definitions: ClusterAccess, resources: Resources) -> None:
    resources.create(MINIMAL["Deployment"])
    definitions.kubectl("scale", "mdep/serve", "--replicas=3", f"--namespace={resources.namespace}")
    assert resources.get("Deployment", "serve")["spec"]["endpoint"]["replicas"] == 3
    resources.patch_status("Deployment", "serve", {"replicas": 2, "selector": "modelyard.dev/deployment=serve"})
    path = f"/apis/modelyard.dev/v1alpha1/namespaces/{resources.namespace}/deployments/serve/scale"
    scale = json.loads(definitions.kubectl("get", "--raw", path))
    assert scale["status"] == {"replicas": 2, "selector": "modelyard.dev/deployment=serve"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_columns_are_shown(definitions: ClusterAccess, resources: Resources, kind: type[CustomResource]) -> None:
    resources.create(MINIMAL[kind.kind])
    shown = definitions.kubectl(
        "get", f"{kind.plural}.modelyard.dev", "--output=wide", f"--namespace={resources.namespace}"
    )
    titles = re.split("  +", shown.splitlines()[0].strip())
    assert titles == ["NAME", *(column.name.upper() for column in columns(kind))]


def test_category_lists_the_kinds_that_people_write(definitions: ClusterAccess, resources: Resources) -> None:
    for document in MINIMAL.values():
        resources.create(document)
    shown = definitions.kubectl("get", "modelyard", f"--namespace={resources.namespace}", "--output=name").split()
    written_by_people = {kind.lower() for kind in MINIMAL} - {"observation"}
    assert {line.split(".")[0] for line in shown} == written_by_people


def test_status_is_bounded(resources: Resources) -> None:
    resources.create(MINIMAL["Deployment"])
    condition = {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    model = {"name": "m", "version": 1, "digest": DIGEST, "revision": "0123456789"}
    resources.patch_status("Deployment", "serve", {"conditions": [condition], "model": model})
    with pytest.raises(RefusedError, match="Too long"):
        resources.patch_status("Deployment", "serve", {"conditions": [condition | {"message": "x" * 1025}]})


def _definition(cluster: ClusterAccess, file: Path) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads(cluster.kubectl("get", "-f", str(file), "-o", "json"))
    return definition
