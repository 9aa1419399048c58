"""The flights example on a laptop: same digests as in a cluster, a champion, and a model directory that serves."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.manifests.documents import parse_documents
from modelyard.manifests.validation import Verdict, validate
from modelyard.model import load_model_directory
from modelyard.storage.manifests import FileEntry, Manifest, digest_of
from tests.contract.local.command import COMMAND, SECONDS, modelyard, run_json, write_run
from tests.support.flights import PARAMETERS, write_flights
from tests.support.s3 import S3Server
from tests.support.waiting import wait_until

TABLES = ("flights", "weather", "planes")
LOCAL = [part for name in TABLES for part in ("--input", f"{name}=data/{name}")]
MANIFEST = ("-f", "trainingrun.yaml")


def flights_spec(bucket: str = "nowhere") -> dict[str, Any]:
    return {
        "model": "flight-delay",
        "inputs": [{"name": name, "uri": f"s3://{bucket}/air/{name}/"} for name in TABLES],
        "parameters": [{"name": name, "value": value} for name, value in {**PARAMETERS, "iterations": "10"}.items()],
        "seed": 7,
        "steps": [
            {"name": "prepare", "uses": "tabular/prepare@v1", "inputs": list(TABLES), "outputs": ["features"]},
            {"name": "train", "uses": "tabular/train@v1", "inputs": ["features"], "outputs": ["model"]},
        ],
        "evaluation": {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize"},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the example ran twice, the second time with the same data."""
    folder = tmp_path_factory.mktemp("project")
    write_flights(folder / "data", rows=4000)
    write_run(folder, flights_spec())
    for _ in range(2):
        done = modelyard(folder, "run", *MANIFEST, *LOCAL)
        assert done.returncode == 0, done.stderr
    return folder


def version(project: Path, number: int) -> ModelVersionSpec:
    manifest = yaml.safe_load((project / ".modelyard" / "versions" / f"flight-delay-v{number}.yaml").read_text())
    return ModelVersionSpec.model_validate(manifest["spec"])


def test_versions_are_manifests_that_the_api_server_would_take(project: Path) -> None:
    files = sorted((project / ".modelyard" / "versions").glob("*.yaml"))
    assert [file.stem for file in files] == ["flight-delay-v1", "flight-delay-v2"]
    for file in files:
        (document,) = parse_documents(file.read_text())
        assert validate(document).verdict is Verdict.VALID, validate(document)


def test_the_second_version_is_judged_against_the_first(project: Path) -> None:
    first, second = version(project, 1), version(project, 2)
    assert first.evaluation
    assert second.evaluation
    assert second.evaluation.champion
    assert (first.evaluation.verdict, second.evaluation.verdict) == ("FirstVersion", "NotBetter")
    assert second.evaluation.champion.digest == first.artifact.digest
    assert second.lineage
    assert second.lineage.previous_version == 1


def test_the_same_data_makes_the_same_bytes(project: Path) -> None:
    assert version(project, 1).artifact.digest == version(project, 2).artifact.digest


def test_record_of_the_store_is_the_spec_of_the_manifest(project: Path) -> None:
    record = (project / ".modelyard" / "models" / "flight-delay" / "v2" / "record.json").read_text()
    assert ModelVersionSpec.model_validate_json(record) == version(project, 2)


def test_what_a_cluster_keeps_beside_a_record_is_there(project: Path) -> None:
    folder = project / ".modelyard" / "models" / "flight-delay" / "v1"
    assert {"run.json", "report.html", "provenance.json"} <= {file.name for file in folder.iterdir()}
    lineage = version(project, 1).lineage
    assert lineage
    assert digest_of((folder / "run.json").read_bytes()) == lineage.run_digest


def test_local_and_stored_inputs_give_the_digests_of_a_cluster(
    project: Path, tmp_path: Path, s3_server: S3Server, bucket: str
) -> None:
    """Over S3 the inputs are listed and hashed as the agent does, and fetched as a pod does."""
    for name in TABLES:
        shutil.copytree(project / "data" / name, s3_server.root / bucket / "air" / name)
    write_run(tmp_path, flights_spec(bucket))
    result = run_json(tmp_path, *MANIFEST, env={**os.environ, **s3_server.environment})
    lineage = version(project, 1).lineage
    assert lineage
    assert {item["name"]: item["digest"] for item in result["status"]["inputs"]} == {
        item.name: item.digest for item in lineage.inputs
    }
    digests = {
        output["name"]: output["digest"] for step in result["status"]["steps"] for output in step.get("outputs", ())
    }
    assert digests["model"] == version(project, 1).artifact.digest


def test_a_prepared_output_is_what_the_step_leaves_in_its_pod(project: Path, tmp_path: Path) -> None:
    result = run_json(project, *MANIFEST, *LOCAL, "--store", tmp_path / "store", "--keep")
    features = result["status"]["steps"][0]["outputs"][0]
    inputs, work = tmp_path / "inputs", tmp_path / "work"
    (kept,) = (tmp_path / "store" / "work").glob("*/prepare-1/inputs")
    shutil.copytree(kept, inputs)
    work.mkdir()
    env = {
        **os.environ,
        "MODELYARD_INPUTS_DIR": str(inputs),
        "MODELYARD_OUTPUTS_DIR": str(work / "outputs"),
        "MODELYARD_PARAMETERS_FILE": str(inputs / ".modelyard" / "parameters.json"),
        "MODELYARD_SEED": "7",
    }
    subprocess.run([sys.executable, "-m", "modelyard.steps.tabular", "prepare"], env=env, check=True, timeout=SECONDS)
    assert tree_digest(work / "outputs" / "features") == features["digest"]


def tree_digest(folder: Path) -> str:
    files = [file for file in folder.rglob("*") if file.is_file()]
    entries = [
        FileEntry(
            str(file.relative_to(folder)), digest_of(file.read_bytes()).removeprefix("sha256:"), file.stat().st_size
        )
        for file in files
    ]
    return Manifest.of(entries).digest


@pytest.fixture
def served(project: Path, tmp_path: Path) -> Iterator[str]:
    """Return the URL of the model, served from the folder that the run wrote."""
    folder = project / ".modelyard" / "versions" / "flight-delay-v1"
    shown = tmp_path / "shown"
    with shown.open("wb") as out:
        command = [*COMMAND, "serve", str(folder), "--name", "flight-delay", "--port", "0"]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: "curl" in shown.read_text(), seconds=SECONDS, what="the model to be served")
        yield next(word for word in shown.read_text().split() if word.startswith("http://"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)


def test_the_model_directory_serves_and_predicts(project: Path, served: str, tmp_path: Path) -> None:
    directory = load_model_directory(project / ".modelyard" / "versions" / "flight-delay-v1")
    rows = tmp_path / "rows.csv"
    names = [item.name for item in directory.signature.inputs]
    values = {"carrier": "AA", "origin": "JFK", "distance": 900, "visib": 10, "planes_year": 2001}
    with rows.open("w", newline="") as out:
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        writer.writerow(values)
    done = modelyard(tmp_path, "predict", served, "--file", rows)
    assert done.returncode == 0, done.stderr
    (answer,) = csv.DictReader(done.stdout.splitlines())
    assert answer["label"] in ("0", "1")
