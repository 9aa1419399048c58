"""A pickle that a person registers is converted once and served as ONNX; one that is up to something is refused."""

import hashlib
import io
import json
import os
import pickle
import urllib.request
from typing import Any

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modelyard.storage.manifests import FileEntry, Manifest
from tests.support.tenant import Tenant, condition_of, deployment, small_table

MODEL = "pickled"


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def _samples() -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(small_table(seed=5, rows=300)))


def _register(tenant: Tenant, version: int, pickled: bytes) -> str:
    """Put a pickle and its samples into the store and apply the ModelVersion, as a person would."""
    folder = f"pickles/{version}/"
    files = {"model.pkl": pickled, "samples.csv": _samples().to_csv(index=False).encode()}
    for name, data in files.items():
        tenant.put(folder + name, data)
    entries = [FileEntry(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()]
    name = f"{MODEL}-v{version}"
    spec = {
        "model": MODEL,
        "version": version,
        "format": "Pickle",
        "artifact": {"uri": tenant.uri(folder), "digest": Manifest.of(entries).digest},
    }
    tenant.apply(
        {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": name}, "spec": spec}
    )
    return name


def test_registered_pickle_is_converted_and_served(tenant: Tenant) -> None:
    rows = _samples()
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["colour"]), remainder="passthrough")
    estimator = make_pipeline(columns, LogisticRegression()).fit(rows[["size", "colour"]], rows["bad"])
    name = _register(tenant, 1, pickle.dumps(estimator))
    converted = tenant.wait_condition("mv", name, "Converted", "True", seconds=180)
    assert "300 sample rows" in converted["message"]
    conversion = tenant.get("mv", name)["status"]["conversion"]
    assert conversion["artifact"]["digest"] != tenant.get("mv", name)["spec"]["artifact"]["digest"]
    assert float(conversion["maximumDifference"]) < 1e-4
    assert not tenant.list("jobs", "app.kubernetes.io/component=conversion")

    tenant.apply(deployment(MODEL, {"name": MODEL, "version": 1}, replicas=1))
    tenant.wait_condition("mdep", MODEL, "Ready", "True", seconds=120)
    body = {
        "inputs": [
            {"name": "size", "shape": [2, 1], "datatype": "FP32", "data": [2.5, -2.5]},
            {"name": "colour", "shape": [2, 1], "datatype": "BYTES", "data": ["red", "blue"]},
        ]
    }
    with tenant.installation.forward(f"service/{MODEL}", 80, tenant.namespace) as port:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            outputs = {output["name"]: output["data"] for output in json.load(response)["outputs"]}
    assert outputs["label"] == [1, 0]
    tenant.delete(f"mdep/{MODEL}")


def test_pickle_that_would_run_a_command_is_refused_by_its_name(tenant: Tenant) -> None:
    name = _register(tenant, 2, pickle.dumps(Malicious()))
    refused = tenant.wait_condition("mv", name, "Converted", "False", reason="PickleRefused", seconds=120)
    assert "posix.system" in refused["message"]
    assert condition_of(tenant.get("mv", name), "Ready")["status"] == "False"
    assert condition_of(tenant.get("mv", name), "Stalled")["reason"] == "PickleRefused"
