import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from modelyard import sdk
from modelyard.model import InvalidModel, load_model_directory


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a cluster."""
    for name in ("INPUTS_DIR", "OUTPUTS_DIR", "PARAMETERS_FILE", "METRICS_FILE", "SEED", "CHECKPOINT_DIR"):
        monkeypatch.delenv(f"MODELYARD_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "modelyard"


def test_everything_has_a_default_without_a_cluster(here: Path) -> None:
    assert (sdk.parameters(), sdk.seed(), sdk.inputs()) == ({}, 0, {})
    assert sdk.output("model").resolve() == here / "outputs" / "model"
    sdk.log_metric("loss", 0.5)
    assert (here / "metrics.jsonl").read_text() == '{"name": "loss", "value": 0.5}\n'


def test_environment_of_a_step_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "flights").mkdir(parents=True)
    (tmp_path / "in" / ".modelyard").mkdir()
    file = tmp_path / "in" / ".modelyard" / "parameters.json"
    file.write_text(json.dumps({"parameters": {"maxDepth": "6"}, "seed": 7}))
    monkeypatch.setenv("MODELYARD_INPUTS_DIR", str(tmp_path / "in"))
    monkeypatch.setenv("MODELYARD_PARAMETERS_FILE", str(file))
    monkeypatch.delenv("MODELYARD_SEED", raising=False)
    assert sdk.parameters() == {"maxDepth": "6"}
    assert sdk.seed() == 7
    monkeypatch.setenv("MODELYARD_SEED", "8")
    assert sdk.seed() == 8
    assert sdk.inputs() == {"flights": tmp_path / "in" / "flights"}
    assert sdk.input("flights") == tmp_path / "in" / "flights"
    with pytest.raises(FileNotFoundError, match=r"no input 'planes' in .*: there are flights"):
        sdk.input("planes")


@pytest.mark.parametrize("name", ["", "../x", "Model", "a" * 41])
def test_output_outside_the_contract_is_refused(here: Path, name: str) -> None:
    with pytest.raises(ValueError, match="output must be named by lower-case letters"):
        sdk.output(name)
    assert not here.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("", 1.0), ("x" * 64, 1.0), ("loss", float("nan")), ("loss", float("inf"))]
)
def test_metric_that_cannot_be_kept_is_refused(here: Path, name: str, value: float) -> None:
    with pytest.raises(ValueError, match="metric"):
        sdk.log_metric(name, value)
    assert not here.exists()


def test_numbers_of_numpy_are_metrics(here: Path) -> None:
    sdk.log_metric("loss", np.float64(0.5))
    assert json.loads((here / "metrics.jsonl").read_text()) == {"name": "loss", "value": 0.5}


def test_model_is_saved_ready_to_serve_and_can_be_saved_as_onnx_again(here: Path) -> None:
    table = pd.DataFrame({"x": np.arange(50, dtype=np.float32)})
    directory = sdk.save_model(LinearRegression().fit(table, 2 * table["x"]), table, label="y")
    assert directory.path.resolve() == here / "outputs" / "model"
    signature = json.loads((directory.path / "modelyard.json").read_text())
    again = sdk.save_onnx(directory.model_file, signature, {"x": np.arange(5.0)}, name="copy")
    assert load_model_directory(again.path).signature == directory.signature


def test_wrong_signature_is_refused_by_name(here: Path) -> None:
    with pytest.raises(InvalidModel, match="task"):
        sdk.save_onnx(b"", {"task": "Guessing"}, {"x": np.zeros(1)})


@pytest.mark.parametrize("content", ["[]", "{"])
def test_broken_parameters_file_is_named(here: Path, content: str) -> None:
    here.mkdir()
    (here / "parameters.json").write_text(content)
    with pytest.raises((ValueError, TypeError), match=r"parameters\.json must"):
        sdk.parameters()


def test_import_is_light() -> None:
    code = (
        "import sys, modelyard.sdk; print([m for m in ('numpy', 'pandas', 'sklearn', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_checkpoint_replaces_the_last_one_when_it_is_whole(here: Path) -> None:
    assert sdk.last_checkpoint() is None
    with sdk.save_checkpoint() as folder:
        (folder / "a").write_text("1")
    last = sdk.last_checkpoint()
    assert last == sdk.checkpoint_dir()
    assert sorted(path.name for path in last.iterdir()) == ["COMPLETE", "a"]
    with sdk.save_checkpoint() as folder:
        (folder / "b").write_text("2")
    assert sorted(path.name for path in last.iterdir()) == ["COMPLETE", "b"]
    assert sorted(path.name for path in here.iterdir()) == ["checkpoint", "checkpoint.lock"]


def test_checkpoint_that_fails_leaves_the_last_one(here: Path) -> None:
    with sdk.save_checkpoint() as folder:
        (folder / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), sdk.save_checkpoint() as folder:
        (folder / "a").write_text(str(1 / 0))
    assert (here / "checkpoint" / "a").read_text() == "1"
    with sdk.save_checkpoint() as folder:
        assert list(folder.iterdir()) == []


def test_preemption_saves_and_ends_the_program(here: Path) -> None:
    program = (
        "import os, signal, time\n"
        "from modelyard import sdk\n"
        "sdk.on_preemption(lambda: print('saved', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (143, "saved\n"), done.stderr
