"""The sandbox with real processes: what a pickle's reader may not do even if it wants to."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from modelyard.conversion.sandbox import Limits, Refused, convert_in_sandbox

LOCKED = "import sys; from modelyard.conversion import sandbox; own = sandbox._lock(sandbox.Limits({limits}));"
HOOKED = "import os, socket, subprocess; sys.addaudithook(sandbox._refuse);"


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, Path]:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    pickled, samples = tmp_path / "model.pkl", tmp_path / "samples.csv"
    pickled.write_bytes(pickle.dumps(LogisticRegression().fit(rows, rows[:, 0] > 0)))
    np.savetxt(samples, rows, delimiter=",", header="a,b", comments="")
    return pickled, samples


def locked(code: str, limits: str = "") -> subprocess.CompletedProcess[str]:
    """Run code in a process that has locked itself in."""
    command = [sys.executable, "-c", LOCKED.format(limits=limits) + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_model_is_converted_without_the_environment_of_the_parent(
    model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not to be seen")
    done = convert_in_sandbox(*model, tmp_path / "out")
    assert (done.estimator, done.rows) == ("sklearn.linear_model._logistic.LogisticRegression", 50)
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {"model.onnx", "modelyard.json"}


def test_refusal_comes_back_with_reason_and_message(model: tuple[Path, Path], tmp_path: Path) -> None:
    model[0].write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(Refused, match=r"os\.system") as refused:
        convert_in_sandbox(*model, tmp_path / "out")
    assert refused.value.reason == "PickleRefused"
    assert not (tmp_path / "out").exists()


def test_too_much_memory_is_a_limit(model: tuple[Path, Path], tmp_path: Path) -> None:
    """Eight bytes ask for a terabyte."""
    model[0].write_bytes(b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".")
    with pytest.raises(Refused, match="more than 3072 MiB of memory") as refused:
        convert_in_sandbox(*model, tmp_path / "out")
    assert refused.value.reason == "LimitExceeded"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(cpu_seconds=1), "more than 1 s of processor time"),
        (Limits(seconds=1), "longer than 1 s"),
        (Limits(memory_mib=300), "crashed|memory"),
    ],
)
def test_a_limit_ends_the_conversion(model: tuple[Path, Path], tmp_path: Path, limits: Limits, said: str) -> None:
    with pytest.raises(Refused, match=said):
        convert_in_sandbox(*model, tmp_path / "out", limits)


def test_a_crash_of_native_code_is_a_refusal(
    model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho deep trouble >&2\nkill -SEGV $$\n")
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(Refused, match=r"crashed \(signal 11\): deep trouble") as refused:
        convert_in_sandbox(*model, tmp_path / "out")
    assert refused.value.reason == "PickleRefused"


@pytest.mark.parametrize(
    "code",
    [
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "subprocess.run(['true'])",
        "socket.create_connection(('127.0.0.1', 1))",
        "socket.getaddrinfo('localhost', 1)",
    ],
)
def test_processes_and_sockets_are_refused(code: str) -> None:
    done = locked(HOOKED + code)
    assert done.returncode == 1
    assert "not in a sandbox" in done.stderr


def test_large_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    done = locked(f"open({str(path)!r}, 'wb').write(bytes(2 * 1024 * 1024))", "file_mib=1")
    assert done.returncode != 0
    assert path.stat().st_size <= 1024 * 1024


def test_no_more_limits_are_to_be_had() -> None:
    done = locked("import resource as r; print([r.getrlimit(w) for w in (r.RLIMIT_NPROC, r.RLIMIT_CORE)], own)")
    limits, own_network = done.stdout.rsplit(maxsplit=1)
    assert limits == "[(0, 0), (0, 0)]"
    assert own_network in {"True", "False"}
