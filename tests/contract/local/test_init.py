"""A new project: its own test passes, its manifests are valid, and it runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.local.command import SECONDS, modelyard, run_json


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parcels")
    done = modelyard(folder, "init", "late", "--model", "late-parcel")
    assert done.returncode == 0, done.stderr
    return folder / "late"


def test_its_own_test_passes(project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "tests"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_its_manifests_are_valid(project: Path) -> None:
    done = modelyard(project, "validate", "-f", ".")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": valid") == 5


def test_it_runs(project: Path, tmp_path: Path) -> None:
    result = run_json(project, "-f", "trainingrun.yaml", "--input", "deliveries=data", "--store", tmp_path)
    assert result["status"]["modelVersionName"] == "late-parcel-v1"
    assert (tmp_path / "versions" / "late-parcel-v1" / "model.onnx").is_file()


def test_its_pipeline_makes_the_same_model(project: Path, tmp_path: Path) -> None:
    once, again = (
        run_json(project, "-f", file, "--input", "deliveries=data", "--store", tmp_path)
        for file in ("trainingrun.yaml", "pipeline.yaml")
    )
    model, same = (result["status"]["steps"][1]["outputs"][0]["digest"] for result in (once, again))
    assert model == same


def test_a_second_time_writes_nothing(project: Path) -> None:
    (project / "README.md").write_text("mine")
    done = modelyard(project.parent, "init", "late")
    assert done.returncode == 2
    assert "nothing was written" in done.stderr
    assert (project / "README.md").read_text() == "mine"
