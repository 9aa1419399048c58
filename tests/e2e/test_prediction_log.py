"""Predictions of a pod on a real node arrive in the store, those too that its end finds in the spool."""

import gzip
import json
import urllib.request
from typing import Any

import obstore
import pytest

from tests.support.tenant import Tenant, deployment, small_run, small_table
from tests.support.waiting import wait_until

MODEL = "logged"
REQUESTS = 20


@pytest.fixture(scope="module")
def served(tenant: Tenant) -> Tenant:
    """A Deployment that logs every request."""
    tenant.put("table.csv", small_table(seed=1))
    tenant.apply(small_run(tenant, "logged-1", model=MODEL, data="table.csv", seed=7))
    tenant.wait_condition("trun", "logged-1", "Ready", "True", seconds=180)
    manifest = deployment(MODEL, {"name": MODEL, "version": 1}, replicas=1)
    manifest["spec"]["monitoring"] = {"predictionLog": {"samplePercent": 100, "columns": ["size"]}}
    tenant.apply(manifest)
    tenant.wait_condition("mdep", MODEL, "Ready", "True", seconds=120)
    return tenant


def predict(port: int, number: int) -> None:
    body = {
        "id": f"request-{number}",
        "inputs": [
            {"name": "size", "shape": [1, 1], "datatype": "FP32", "data": [number]},
            {"name": "colour", "shape": [1, 1], "datatype": "BYTES", "data": ["red"]},
        ],
    }
    url = f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10) as answer:
        assert answer.status == 200


def records(tenant: Tenant) -> list[dict[str, Any]]:
    found = []
    for batch in obstore.list(tenant.bucket, prefix=f"{tenant.namespace}/predictions/{MODEL}/"):
        for meta in batch:
            data = gzip.decompress(bytes(obstore.get(tenant.bucket, meta["path"]).bytes()))
            found += [json.loads(line) for line in data.splitlines()]
    return found


def test_predictions_of_a_pod_that_is_deleted_are_all_in_the_store(served: Tenant) -> None:
    with served.installation.forward(f"service/{MODEL}", 80, served.namespace) as port:
        for number in range(REQUESTS):
            predict(port, number)
    (pod,) = served.list("pods", f"modelyard.dev/deployment={MODEL}")
    served.delete(f"pod/{pod['metadata']['name']}", wait=True)
    wait_until(lambda: len(records(served)) >= REQUESTS, seconds=30, what="the records in the store", poll_seconds=0.5)
    found = sorted(records(served), key=lambda record: record["inputs"]["size"])
    assert [record["predictionId"] for record in found] == [f"request-{number}" for number in range(REQUESTS)]
    assert [record["inputs"] for record in found] == [{"size": float(number)} for number in range(REQUESTS)]
    assert {(record["model"], record["version"], record["deployment"]) for record in found} == {(MODEL, "1", MODEL)}
    assert all(len(record["outputs"]["probabilities"]) == 2 for record in found)
