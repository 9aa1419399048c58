"""The manifests of a run's children, compared with files; `MODELYARD_UPDATE_GOLDENS=1` writes them anew."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import STORE_SECRET
from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.kinds.trainingrun.children import (
    build_counter,
    build_model_version,
    build_register_job,
    build_step_job,
    build_suspension,
    read_record,
)
from modelyard.controller.kinds.trainingrun.groups import build_service
from modelyard.controller.kinds.trainingrun.observed import Observed
from modelyard.controller.kinds.trainingrun.results import RegisterResult, StepResult, read_result
from tests.unit.kinds.trainingrun.builders import EVALUATION, PREPARE, observe, run_manifest, sha

GOLDENS = Path(__file__).parent / "goldens"
TRAIN: dict[str, Any] = {
    "name": "train",
    "image": "example.com/team/train:9",
    "command": ["python", "train.py"],
    "args": ["--fast"],
    "workingDir": "/src",
    "envFrom": [
        {"secretRef": {"name": "modelyard-step-tracker"}},
        {"prefix": "DB_", "configMapRef": {"name": "modelyard-step-database"}},
    ],
    "env": [{"name": "HOME", "value": "/src"}, {"name": "LEVEL", "value": "$(HOME)"}],
    "inputs": ["features", "champion"],
    "outputs": ["model"],
    "resources": {"requests": {"cpu": 2}, "limits": {"memory": "8Gi", "nvidia.com/gpu": 1}},
    "activeDeadlineSeconds": 7200,
    "podTemplate": {
        "nodeSelector": {"accelerator": "h100"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
                }
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 50,
                        "podAffinityTerm": {
                            "labelSelector": {"matchLabels": {"team": "air"}},
                            "topologyKey": "kubernetes.io/hostname",
                        },
                    }
                ]
            },
        },
        "priorityClassName": "batch",
        "runtimeClassName": "gvisor",
        "serviceAccountName": "modelyard-step-warehouse",
        "labels": {"team": "air"},
        "annotations": {"example.com/note": "x"},
        "sharedMemory": "1Gi",
        "workspace": "10Gi",
    },
}


def champion(version: int = 6, letter: str = "c") -> ModelVersion:
    body = {
        "model": "flight-delay",
        "version": version,
        "artifact": {"uri": f"s3://air/blobs/sha256/{letter * 64}", "digest": sha(letter)},
        "evaluation": {"metric": "rocAuc", "rows": 5, "datasetDigest": sha("d"), "verdict": "FirstVersion"},
    }
    metadata = {"name": f"flight-delay-v{version}", "namespace": "air", "uid": "champion-uid"}
    return ModelVersion.model_validate({"metadata": metadata, "spec": body})


def trained(**changes: Any) -> Observed:
    """A run whose steps have all published."""

    def output(name: str, letter: str) -> dict[str, Any]:
        return {"name": name, "uri": f"s3://air/blobs/sha256/{letter * 64}", "digest": sha(letter), "bytes": 9}

    status = {
        "startTime": "2026-01-01T00:00:00Z",
        "inputs": [{"name": "flights", "uri": "s3://air/flights/", "digest": sha("a"), "version": "v9", "bytes": 7}],
        "steps": [
            {
                "name": "prepare",
                "state": "Succeeded",
                "image": f"trainer@{sha('1')}",
                "outputs": [output("features", "b")],
            },
            {"name": "train", "state": "Succeeded", "image": f"train@{sha('2')}", "outputs": [output("model", "e")]},
        ],
    }
    defaults: dict[str, Any] = {
        "steps": [PREPARE, TRAIN],
        "evaluation": {**EVALUATION, "minimumImprovement": "0.002"},
        "parameters": [{"name": "maxDepth", "value": "6"}, {"name": "greeting", "value": "$(HOME) $$ ü"}],
        "seed": 7,
        "requestedBy": "alice@example.com",
    }
    return observe(run_manifest(status, **{**defaults, **changes}), cached_versions=(champion(),))


def check(name: str, manifest: Manifest) -> None:
    path = GOLDENS / f"{name}.yaml"
    text = yaml.safe_dump(manifest, sort_keys=True, width=120)
    if os.environ.get("MODELYARD_UPDATE_GOLDENS"):
        path.write_text(text)
    assert manifest == yaml.safe_load(path.read_text())


def environment(container: Manifest) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def expand(value: str) -> str:
    """What the kubelet makes of a value without references to other variables."""
    return value.replace("$$", "$")


def test_the_job_of_a_users_step() -> None:
    observed = trained()
    check("step-job", build_step_job(observed, observed.run.spec.steps[1], 2))


def test_the_job_of_a_built_in_step() -> None:
    observed = trained()
    check("built-in-step-job", build_step_job(observed, observed.run.spec.steps[0], 1))


def test_the_job_of_a_group_that_keeps_checkpoints() -> None:
    checkpoint = {"intervalSeconds": 60, "gracePeriodSeconds": 45}
    observed = trained(steps=[PREPARE, {**TRAIN, "numNodes": 4, "checkpoint": checkpoint}])
    job = build_step_job(observed, observed.run.spec.steps[1], 2)
    check("group-job", job)
    check("group-service", build_service(observed.manifest, job))


def test_the_job_that_registers() -> None:
    check("register-job", build_register_job(trained(), 7, 1))


def test_pods_are_restricted_and_hold_no_credentials_for_user_code() -> None:
    observed = trained()
    for job in (build_step_job(observed, observed.run.spec.steps[1], 1), build_register_job(observed, 7, 1)):
        pod = job["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in (*pod["initContainers"], *pod["containers"]):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            opens_store = {"secretRef": {"name": STORE_SECRET}} in container.get("envFrom", ())
            assert opens_store == (container["name"] != "run")


def test_a_courier_holds_the_credentials_and_user_code_does_not() -> None:
    observed = trained(steps=[PREPARE, {**TRAIN, "checkpoint": {}}])
    pod = build_step_job(observed, observed.run.spec.steps[1], 1)["spec"]["template"]["spec"]
    containers = {container["name"]: container for container in (*pod["initContainers"], *pod["containers"])}
    assert list(containers) == ["fetch", "courier", "run", "publish"]
    store = {"secretRef": {"name": "modelyard-store"}}
    holders = {name for name, container in containers.items() if store in container.get("envFrom", ())}
    assert holders == set(containers) - {"run"}
    writable = [m["name"] for m in containers["courier"]["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["tmp"]


def test_parameters_survive_the_expansion_of_variables() -> None:
    observed = trained()
    fetch = build_step_job(observed, observed.run.spec.steps[0], 1)["spec"]["template"]["spec"]["initContainers"][0]
    parameters = json.loads(expand(environment(fetch)["MODELYARD_PARAMETERS"]))
    assert parameters == {
        "parameters": {"maxDepth": "6", "greeting": "$(HOME) $$ ü"},
        "seed": 7,
        "model": "flight-delay",
        "step": "prepare",
    }


def test_a_missing_champion_is_no_source() -> None:
    observed = trained()
    alone = observe(observed.manifest)
    fetch = build_step_job(alone, alone.run.spec.steps[1], 1)["spec"]["template"]["spec"]["initContainers"][0]
    assert [s["name"] for s in json.loads(environment(fetch)["MODELYARD_SOURCES"])] == ["features"]


def test_register_without_an_evaluation_judges_nothing() -> None:
    job = build_register_job(trained(evaluation=None), 7, 1)
    pod = job["spec"]["template"]["spec"]
    assert [s["name"] for s in json.loads(environment(pod["initContainers"][0])["MODELYARD_SOURCES"])] == ["model"]
    assert "MODELYARD_EVALUATION" not in environment(pod["containers"][0])


def scored_by_step(*, cached: tuple[ModelVersion, ...]) -> Observed:
    """A run whose train step has got version 6 as champion and compared the model with it."""
    asked = {"by": "Step", "metric": "ndcg", "goal": "Maximize"}
    before = trained(evaluation=asked)
    status = {**before.manifest["status"], "metrics": [{"name": "ndcg", "value": "0.4"}]}
    manifest = {**before.manifest, "status": status}
    job = build_step_job(before, before.run.spec.steps[1], 1)
    return observe(manifest, jobs=(job,), cached_versions=cached)


def test_register_gets_the_numbers_of_the_step_and_no_bytes_of_a_champion() -> None:
    pod = build_register_job(scored_by_step(cached=(champion(),)), 7, 1)["spec"]["template"]["spec"]
    assert [s["name"] for s in json.loads(environment(pod["initContainers"][0])["MODELYARD_SOURCES"])] == ["model"]
    asked = json.loads(environment(pod["containers"][0])["MODELYARD_EVALUATION"])
    assert (asked["reported"], asked["champion"]) == ({"ndcg": "0.4"}, {"version": 6, "digest": sha("c")})


def test_numbers_of_a_step_speak_of_the_champion_that_it_was_given() -> None:
    pod = build_register_job(scored_by_step(cached=(champion(), champion(9, "f"))), 10, 1)["spec"]["template"]["spec"]
    assert json.loads(environment(pod["containers"][0])["MODELYARD_EVALUATION"])["champion"]["version"] == 6


EVALUATED = {
    "artifact": {"schemaDigest": sha("5"), "datasetDigest": sha("6")},
    "evaluation": {
        "by": "Modelyard",
        "metric": "rocAuc",
        "value": "0.7134",
        "rows": 51234,
        "datasetDigest": sha("6"),
        "champion": {"version": 6, "digest": sha("c"), "value": "0.7011"},
        "verdict": "BetterThanChampion",
        "message": "better by 0.0123",
    },
}


def test_the_version_is_the_record_with_the_findings() -> None:
    observed = trained()
    record = read_record(build_register_job(observed, 7, 1))
    result = read_result(RegisterResult, json.dumps(EVALUATED))
    assert record
    assert result
    check("model-version", build_model_version(observed, record, result, champion_moved=None))


def test_a_version_is_owned_by_nobody() -> None:
    observed = trained()
    record = read_record(build_register_job(observed, 7, 1))
    assert record
    version = build_model_version(observed, record, RegisterResult(), champion_moved=None)
    assert "ownerReferences" not in version["metadata"]


@pytest.mark.parametrize("environment", [[], [{"name": "MODELYARD_RECORD", "value": "{"}]])
def test_a_register_job_without_a_record_has_none(environment: list[dict[str, str]]) -> None:
    job = {"spec": {"template": {"spec": {"containers": [{"name": "register", "env": environment}]}}}}
    assert read_record(job) is None
    assert read_record({"spec": {}}) is None


def test_a_suspension_changes_nothing_else() -> None:
    observed = trained()
    job = build_step_job(observed, observed.run.spec.steps[1], 1)
    job["metadata"]["uid"] = "job-uid"
    suspension = build_suspension(observed.manifest, job, suspend=True)
    assert suspension["spec"] == {"suspend": True}
    assert suspension["metadata"]["uid"] == "job-uid"
    assert suspension["metadata"]["ownerReferences"] == job["metadata"]["ownerReferences"]


def test_the_counter_keeps_other_models() -> None:
    live = {"metadata": {"resourceVersion": "41"}, "data": {"other": "3:x", "flight-delay": "1:y"}}
    counter = build_counter("air", live, {"flight-delay": "2:z"})
    assert counter["data"] == {"other": "3:x", "flight-delay": "2:z"}
    assert counter["metadata"]["resourceVersion"] == "41"
    assert "resourceVersion" not in build_counter("air", None, {})["metadata"]


@pytest.mark.parametrize("text", [None, "", "no JSON", "[]", '{"outputs": [{"name": "x"}]}'])
def test_an_answer_that_is_none_is_missing(text: str | None) -> None:
    assert read_result(StepResult, text) is None
