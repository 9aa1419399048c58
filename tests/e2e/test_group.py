"""A real distributed training library over four pods of a real node, of which some are taken away."""

import csv
import io
import random
import zipfile
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest

from dev.generate import REPOSITORY
from tests.e2e.conftest import Yard
from tests.e2e.test_preemption import ended, pods, time_to_work, wait_for_work
from tests.support.tenant import Manifest, Tenant, training_run
from tests.support.waiting import wait_until

NODES = 4
ROUNDS = 60
SECONDS = 240
# The library comes as an input here; in earnest it is in the image.
START = """
import os, sys, zipfile
lib = os.environ["HOME"] + "/lib"
zipfile.ZipFile(os.environ["MODELYARD_INPUTS_DIR"] + "/library/xgboost.zip").extractall(lib)
os.environ["PYTHONPATH"] = lib + ":" + os.environ["PYTHONPATH"]
os.execv(sys.executable, [sys.executable, os.environ["MODELYARD_INPUTS_DIR"] + "/code/train.py"])
"""
INDEX = "batch.kubernetes.io/job-completion-index"


def library() -> bytes:
    """The installed library as an archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in files("xgboost-cpu") or []:
            if "__pycache__" not in file.parts and ".." not in file.parts:
                target.write(Path(str(file.locate())), str(file))
    return archive.getvalue()


def rows() -> bytes:
    rng = random.Random(1)  # noqa: S311 - test data
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["a", "b", "label"])
    for _ in range(4000):
        a, b = rng.gauss(0, 1), rng.gauss(0, 1)
        writer.writerow([f"{a:.5f}", f"{b:.5f}", int(a + b * b + rng.gauss(0, 0.5) > 1)])
    return text.getvalue().encode()


def run(tenant: Tenant, name: str, image: str, pause: float, **step: Any) -> Manifest:
    own = {
        "name": "train",
        "image": image,
        "command": ["python", "-c", START],
        "env": [{"name": "PAUSE_SECONDS", "value": str(pause)}, {"name": "OMP_NUM_THREADS", "value": "1"}],
        "inputs": ["rows", "code", "library"],
        "outputs": ["booster"],
        "numNodes": NODES,
        "backoffLimit": 0,
        "checkpoint": {"intervalSeconds": 1, "gracePeriodSeconds": 10},
        "progress": "Live",
    }
    inputs = [
        {"name": "rows", "uri": tenant.uri("rows/")},
        {"name": "code", "uri": tenant.uri("train.py")},
        {"name": "library", "uri": tenant.uri("xgboost.zip")},
    ]
    parameters = [{"name": "rounds", "value": str(ROUNDS)}]
    return training_run(
        name, model="group", inputs=inputs, parameters=parameters, steps=[own | step], backoffLimit=0, seed=7
    )


@pytest.fixture(scope="module")
def unbroken(tenant: Tenant, yard: Yard) -> Manifest:
    """Status of a run that nothing happens to."""
    tenant.put("rows/rows.csv", rows())
    tenant.put("train.py", (REPOSITORY / "examples/distributed/train.py").read_bytes())
    tenant.put("xgboost.zip", library())
    tenant.apply(run(tenant, "unbroken", yard.image("trainer"), 0.0))
    ended(tenant, "unbroken")
    return dict(tenant.get("trun", "unbroken")["status"])


def test_four_ranks_train_one_model(tenant: Tenant, unbroken: Manifest) -> None:
    assert {pod["metadata"]["labels"][INDEX] for pod in pods(tenant, "unbroken")} == {"0", "1", "2", "3"}
    log = tenant.installation.kubectl("logs", "-n", tenant.namespace, "job/unbroken-train-1", "-c", "run")
    assert f"of {NODES}; device: cpu" in log
    assert float(unbroken["metrics"][0]["value"]) < 0.3
    assert tenant.list("services", "modelyard.dev/training-run=unbroken") == []


def test_group_that_loses_ranks_ends_like_an_unbroken_one(tenant: Tenant, yard: Yard, unbroken: Manifest) -> None:
    tenant.apply(run(tenant, "broken", yard.image("trainer"), 1.0))
    losses = [(2, tenant.evict), (0, tenant.evict), (3, lambda pod: tenant.delete(f"pod/{pod}"))]
    for attempt, (rank, take_away) in enumerate(losses, start=1):
        members = wait_for_work(tenant, "broken", NODES)
        time_to_work(tenant, "broken")
        name = next(p["metadata"]["name"] for p in members if p["metadata"]["labels"][INDEX] == str(rank))
        take_away(name)
        wait_until(lambda n=attempt: attempt_of(tenant) > n, seconds=SECONDS, what="another attempt", poll_seconds=0.5)  # type: ignore[misc]
    step = ended(tenant, "broken")
    assert (step["resumes"], step["failures"], step["attempt"]) == (3, 0, 4)
    status = tenant.get("trun", "broken")["status"]
    assert status["metrics"] == unbroken["metrics"]
    assert step["lostSeconds"] <= 3 * 10
    assert tenant.list("services", "modelyard.dev/training-run=broken") == []


def attempt_of(tenant: Tenant) -> int:
    return int(tenant.get("trun", "broken")["status"]["steps"][0]["attempt"])
