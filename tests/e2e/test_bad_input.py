"""What only the cluster can know becomes a condition with its own reason, and nothing is lost."""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import obstore
import pytest

from tests.e2e.conftest import Yard
from tests.support.tenant import (
    Manifest,
    Tenant,
    code_run,
    condition_of,
    deployment,
    make_tenant,
    small_run,
    small_table,
    training_run,
)
from tests.support.waiting import wait_until

SETTLE_SECONDS = 150
CORRUPT = {"DigestMismatch", "ArtifactCorrupt", "ArtifactUnavailable"}
WRONG_DIGEST = "sha256:" + "0" * 64
WRITE_MODEL = """
import json, os, pathlib
import onnx
from onnx import TensorProto, helper
out = pathlib.Path(os.environ['MODELYARD_OUTPUTS_DIR'], 'model'); out.mkdir(parents=True, exist_ok=True)
node = helper.make_node({op!r}, ['x'], ['y'], domain={domain!r})
graph = helper.make_graph([node], 'g', [helper.make_tensor_value_info('x', TensorProto.FLOAT, [None, 1])],
                          [helper.make_tensor_value_info('y', TensorProto.FLOAT, [None, 1])])
{extra}
opsets = [helper.make_opsetid('', 17)] + [helper.make_opsetid(name, 1) for name in [{domain!r}] if name]
model = helper.make_model(graph, opset_imports=opsets)
(out / 'model.onnx').write_bytes(model.SerializeToString())
tensor = dict(datatype='FP32', shape=[-1, 1])
(out / 'modelyard.json').write_text(json.dumps(dict(schema='modelyard.dev/signature/v1', task='Other',
    inputs=[dict(tensor, name='x', kind='Numeric')], outputs=[dict(tensor, name='y')])))
(out / 'baseline.json').write_text(json.dumps(
    dict(schema='modelyard.dev/baseline/v1', rows=0, features=[], outputs=[])))
(out / 'examples.json').write_text(json.dumps(dict(schema='modelyard.dev/examples/v1', tolerance=1e-4, examples=[])))
"""
EXTERNAL = """
tensor = graph.initializer.add(name='w', data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
tensor.external_data.add(key='location', value='../../etc/passwd')
"""


@dataclass(frozen=True)
class Case:
    """A run that cannot succeed as it is."""

    run: Callable[[Tenant, str], Manifest]
    condition: str
    reason: str
    message: str
    final: bool = True
    """Will it never succeed (Stalled), or does it recover when the cause goes?"""


def reading(uri: str, **more: Any) -> Callable[[Tenant, str], Manifest]:
    """A run that reads one input."""

    def build(tenant: Tenant, image: str) -> Manifest:
        step = {"name": "read", "image": image, "command": ["python", "-c", "pass"], "inputs": ["data"]}
        data = {"name": "data", "uri": uri.format(own=tenant.uri("")), **more}
        return training_run("", model="bad", inputs=[data], steps=[step])

    return build


def running(code: str, **step: Any) -> Callable[[Tenant, str], Manifest]:
    """A run of one step of Python code."""
    return lambda _, image: code_run("", code, **{"image": image, "model": "bad"} | step)


def within(seconds: int, code: str) -> Callable[[Tenant, str], Manifest]:
    """A run with a deadline."""

    def build(_: Tenant, image: str) -> Manifest:
        manifest = code_run("", code, image, model="bad")
        manifest["spec"]["activeDeadlineSeconds"] = seconds
        return manifest

    return build


CASES = {
    "missing-bucket": Case(
        reading("s3://no-such-bucket-here/x/"), "InputsResolved", "InputNotFound", "no-such-bucket-here", final=False
    ),
    "missing-object": Case(reading("{own}nothing.csv"), "InputsResolved", "InputNotFound", "nothing.csv", final=False),
    "missing-prefix": Case(reading("{own}nothing/"), "InputsResolved", "InputNotFound", "nothing/", final=False),
    "wrong-digest": Case(
        reading("{own}table.csv", digest=WRONG_DIGEST),
        "InputsResolved",
        "DigestMismatch",
        WRONG_DIGEST[:20],
        final=False,
    ),
    "bad-data": Case(
        reading(
            "{own}table.csv",
            expectations={"columns": [{"name": "colour", "categories": ["red", "green"]}, {"name": "weight"}]},
        ),
        "Succeeded",
        "DataInvalid",
        "input 'data': column 'weight' is not there, `columns` names it; column 'colour' has ",
    ),
    "missing-image": Case(
        running("pass", image="localhost/no-such-image:1"), "Ready", "ImagePullFailed", "no-such-image", final=False
    ),
    "exit-3": Case(
        running("import sys; print('the disk is on fire', file=sys.stderr); sys.exit(3)"),
        "Succeeded",
        "StepFailed",
        "the disk is on fire",
    ),
    "out-of-memory": Case(
        running(
            "b = bytearray(600_000_000)\nfor i in range(0, len(b), 4096): b[i] = 1",
            resources={"limits": {"memory": "64Mi"}},
        ),
        "Succeeded",
        "OutOfMemory",
        "64Mi",
    ),
    "no-output": Case(running("pass"), "Succeeded", "OutputEmpty", "model"),
    "no-model": Case(
        running(
            "import os, pathlib; p = pathlib.Path(os.environ['MODELYARD_OUTPUTS_DIR'], 'model')"
            "; (p / 'model.onnx').write_text('junk')"
        ),
        "Succeeded",
        "InvalidModel",
        "model",
    ),
    "custom-domain": Case(
        running(WRITE_MODEL.format(op="Rot13", domain="evil.example", extra="")),
        "Succeeded",
        "InvalidModel",
        "evil.example",
    ),
    "external-data": Case(
        running(WRITE_MODEL.format(op="Relu", domain="", extra=EXTERNAL)), "Succeeded", "InvalidModel", "passwd"
    ),
    "no-gpu": Case(
        running("pass", resources={"limits": {"nvidia.com/gpu": 64}}),
        "Ready",
        "Unschedulable",
        "nvidia.com/gpu",
        final=False,
    ),
    "deadline": Case(within(8, "import time; time.sleep(600)"), "Succeeded", "DeadlineExceeded", "8"),
}


@pytest.fixture(scope="module")
def runs(tenant: Tenant, yard: Yard) -> Tenant:
    """All bad runs, started together."""
    tenant.put("table.csv", small_table(seed=1))
    manifests = []
    for name, case in CASES.items():
        manifest = case.run(tenant, yard.image("trainer"))
        manifest["metadata"]["name"] = name
        manifest["spec"]["backoffLimit"] = 0
        manifests.append(manifest)
    tenant.apply(*manifests)
    return tenant


@pytest.mark.parametrize("name", CASES)
def test_bad_run_says_what_is_wrong(runs: Tenant, name: str) -> None:
    case = CASES[name]
    found = runs.wait_condition("trun", name, case.condition, "False", reason=case.reason, seconds=SETTLE_SECONDS)
    assert case.message in found["message"]
    run = runs.get("trun", name)
    assert condition_of(run, "Ready")["status"] == "False"
    assert (condition_of(run, "Stalled").get("status") == "True") is case.final


def test_missing_object_that_appears_lets_the_run_go_on(runs: Tenant) -> None:
    runs.wait_condition("trun", "missing-object", "InputsResolved", "False", seconds=SETTLE_SECONDS)
    runs.put("nothing.csv", b"a\n1\n")
    runs.wait_condition("trun", "missing-object", "Ready", "True", seconds=SETTLE_SECONDS)


def test_failed_run_keeps_its_finished_steps_and_logs(tenant: Tenant, yard: Yard) -> None:
    image = yard.image("trainer")
    write = "import os, pathlib; pathlib.Path(os.environ['MODELYARD_OUTPUTS_DIR'], 'part', 'a').write_text('1')"
    steps = [
        {"name": "good", "image": image, "command": ["python", "-c", write], "outputs": ["part"]},
        {
            "name": "bad",
            "image": image,
            "command": ["python", "-c", "import sys; sys.exit(3)"],
            "inputs": ["part"],
            "backoffLimit": 1,
        },
    ]
    tenant.apply(training_run("half", model="half", steps=steps))
    found = tenant.wait_condition("trun", "half", "Succeeded", "False", seconds=SETTLE_SECONDS)
    assert found["reason"] in {"StepFailed", "BackoffLimitExceeded"}
    states = {step["name"]: step for step in tenant.get("trun", "half")["status"]["steps"]}
    assert states["good"]["state"] == "Succeeded"
    assert states["good"]["outputs"][0]["digest"].startswith("sha256:")
    assert states["bad"]["attempt"] == 2
    jobs = {job["metadata"]["name"] for job in tenant.list("jobs", "modelyard.dev/training-run=half")}
    assert jobs == {"half-good-1", "half-bad-1", "half-bad-2"}


def test_two_runs_of_one_model_at_the_same_time_make_two_versions(tenant: Tenant) -> None:
    tenant.put("twins.csv", small_table(seed=2))
    for seed, name in enumerate(("twin-a", "twin-b")):
        tenant.apply(small_run(tenant, name, model="twins", data="twins.csv", seed=seed))
    for name in ("twin-a", "twin-b"):
        tenant.wait_condition("trun", name, "Ready", "True", seconds=300)
    versions = tenant.list("mv", "modelyard.dev/model=twins")
    older, newer = sorted(versions, key=lambda version: int(version["spec"]["version"]))
    makers = {version["spec"]["lineage"]["trainingRun"]["name"] for version in (older, newer)}
    assert makers == {"twin-a", "twin-b"}
    assert older["spec"]["evaluation"]["verdict"] == "FirstVersion"
    assert newer["spec"]["evaluation"]["champion"]["version"] == older["spec"]["version"]


@pytest.mark.parametrize("moment", ["Resolving", "prepare", "train", "register"])
def test_run_deleted_at_any_moment_leaves_nothing_running(tenant: Tenant, moment: str) -> None:
    tenant.put("gone.csv", small_table(seed=3))
    name = f"gone-{moment.lower()}"
    tenant.apply(small_run(tenant, name, model=f"gone-{moment.lower()}", data="gone.csv"))
    if moment != "Resolving":
        tenant.wait("trun", name, lambda run: run.get("status", {}).get("step") == moment, seconds=180, what=moment)
    tenant.delete(f"trun/{name}", wait=True)
    selector = f"modelyard.dev/training-run={name}"
    gone = f"{name}'s Jobs to go"
    wait_until(lambda: not tenant.list("jobs,pods", selector), seconds=90, what=gone, poll_seconds=1)


def test_tampered_artifact_is_reported_and_never_served(tenant: Tenant) -> None:
    tenant.put("tamper.csv", small_table(seed=4))
    tenant.apply(small_run(tenant, "tamper-1", model="tamper", data="tamper.csv"))
    tenant.wait_condition("trun", "tamper-1", "Ready", "True", seconds=180)
    version = tenant.get("mv", "tamper-v1")
    uri = version["spec"]["artifact"]["uri"]
    key = uri.removeprefix("s3://").partition("/")[2]
    manifest = bytes(obstore.get(tenant.bucket, key).bytes())
    blob = next(f["sha256"] for f in json.loads(manifest)["files"] if f["path"] == "model.onnx")
    path = key.rsplit("/", 1)[0] + "/" + blob
    data = bytearray(bytes(obstore.get(tenant.bucket, path).bytes()))
    data[len(data) // 2] ^= 1
    obstore.put(tenant.bucket, path, bytes(data))
    tenant.apply(deployment("tamper", {"name": "tamper", "version": 1}))
    found = tenant.wait_condition("mdep", "tamper", "Ready", "False", seconds=60)
    tenant.wait(
        "mdep",
        "tamper",
        lambda d: any(
            c["reason"] in {"DigestMismatch", "ArtifactCorrupt", "ArtifactUnavailable"}
            for c in d["status"]["conditions"]
        ),
        seconds=120,
        what="the mismatch",
    )
    assert found
    assert condition_of(tenant.get("mdep", "tamper"), "Available")["status"] == "False"


@pytest.fixture
def broken_keys(yard: Yard) -> Iterator[Tenant]:
    """A tenant whose secret key is wrong."""
    store = yard.installation.store()
    environment = {**store.environment, "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
    values = {"store": {"uri": "s3://modelyard/broken/", "env": environment}}
    yield from make_tenant(yard.installation, yard.images, yard.store, values)


def test_wrong_key_is_access_denied(broken_keys: Tenant) -> None:
    broken_keys.put("table.csv", small_table(seed=1))
    broken_keys.apply(small_run(broken_keys, "denied", model="denied", data="table.csv"))
    found = broken_keys.wait_condition("trun", "denied", "InputsResolved", "False", reason="AccessDenied", seconds=90)
    assert broken_keys.store.keys["AWS_SECRET_ACCESS_KEY"] not in found["message"]


@pytest.fixture
def no_secret(yard: Yard) -> Iterator[Tenant]:
    """A tenant without the store Secret."""
    yield from make_tenant(yard.installation, yard.images, yard.store, {"store": {"create": False}})


def test_missing_secret_is_named(no_secret: Tenant) -> None:
    no_secret.apply(small_run(no_secret, "nokey", model="nokey", data="table.csv"))
    found = no_secret.wait_condition("trun", "nokey", "InputsResolved", "False", reason="SecretMissing", seconds=90)
    assert "modelyard-store" in found["message"]


def test_namespace_deleted_in_the_middle_of_a_run_goes_away(yard: Yard) -> None:
    tenants = make_tenant(yard.installation, yard.images, yard.store)
    tenant = next(tenants)
    tenant.put("table.csv", small_table(seed=1))
    tenant.apply(small_run(tenant, "doomed", model="doomed", data="table.csv"))
    tenant.wait("trun", "doomed", lambda run: bool(run.get("status", {}).get("step")), seconds=60, what="a step")
    yard.installation.kubectl("delete", "namespace", tenant.namespace, "--wait=true", timeout=120)
    next(tenants, None)
