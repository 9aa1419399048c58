"""`modelyard run` with real child processes: the contract with user code, failures, limits and its end."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local.command import COMMAND, SECONDS, modelyard, run_json, step, write_run
from tests.support.waiting import wait_until

KEEP = 'echo kept > "$MODELYARD_OUTPUTS_DIR/rows/file"'
CONTRACT = r"""
set -e
env | cut -d= -f1 | sort > "$MODELYARD_OUTPUTS_DIR/rows/env"
cat "$MODELYARD_PARAMETERS_FILE" > "$MODELYARD_OUTPUTS_DIR/rows/parameters"
cat "$MODELYARD_INPUTS_DIR/data/a.txt" > "$MODELYARD_OUTPUTS_DIR/rows/a"
pwd > "$MODELYARD_OUTPUTS_DIR/rows/pwd"
test -d "$TMPDIR"
if [ "$(id -u)" != 0 ]; then ! touch "$MODELYARD_INPUTS_DIR/data/b.txt" 2>/dev/null; fi
echo '{"name": "loss", "value": 0.25}' > "$MODELYARD_METRICS_FILE"
"""


def spec(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "steps": list(steps), **fields}


def condition(result: dict[str, Any], kind: str) -> dict[str, Any]:
    found = {item["type"]: item for item in result["status"]["conditions"]}
    ready: dict[str, Any] = found[kind]
    return ready


def stored(folder: Path, result: dict[str, Any], name: str) -> str:
    """Return a file of the first step's first output, as the store has it."""
    (output,) = result["status"]["steps"][0]["outputs"]
    blobs = folder / ".modelyard" / "blobs" / "sha256"
    manifest = json.loads((blobs / output["digest"].removeprefix("sha256:")).read_text())
    (entry,) = (item for item in manifest["files"] if item["path"] == name)
    return (blobs / entry["sha256"]).read_text()


def runs(pid: int) -> bool:
    """Say whether a process runs; one that has ended may wait for its new parent to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("rows", "reason"), [(2, "Succeeded"), (1, "DataInvalid")])
def test_inputs_are_checked_before_the_first_step(tmp_path: Path, rows: int, reason: str) -> None:
    (tmp_path / "data.csv").write_text("a\n" + "1\n" * rows)
    item = {"name": "data", "uri": "s3://nowhere/data.csv", "expectations": {"minimumRows": 2}}
    write_run(tmp_path, spec(step("echo user code", inputs=["data"]), inputs=[item], backoffLimit=0))
    result = run_json(tmp_path, "-f", "trainingrun.yaml", "--input", "data=data.csv")
    assert condition(result, "Ready")["reason"] == reason
    names = [entry["name"] for entry in result["status"]["steps"] if entry["state"] != "Waiting"]
    assert names == (["validate", "step"] if reason == "Succeeded" else ["validate"])


def test_user_code_sees_files_and_variables_and_nothing_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("hello")
    inputs = [{"name": "data", "uri": "s3://nowhere/data/"}]
    parameters = [{"name": "depth", "value": "6"}]
    work = step(CONTRACT, inputs=["data"], outputs=["rows"], env=[{"name": "OWN", "value": "$(MODELYARD_SEED)"}])
    write_run(tmp_path, spec(work, inputs=inputs, parameters=parameters, seed=7))
    env = {**os.environ, "AWS_SECRET_ACCESS_KEY": "secret"}
    result = run_json(tmp_path, "-f", "trainingrun.yaml", "--input", "data=data", "-p", "depth=7", env=env)
    assert condition(result, "Ready")["reason"] == "Succeeded", result
    names = set(stored(tmp_path, result, "env").split())
    assert {"HOME", "MODELYARD_INPUTS_DIR", "MODELYARD_METRICS_FILE", "OWN", "PATH", "TMPDIR"} <= names
    assert not names & {"AWS_SECRET_ACCESS_KEY", "MODELYARD_STORE_URI"}
    assert json.loads(stored(tmp_path, result, "parameters")) == {
        "parameters": {"depth": "7"},
        "seed": 7,
        "model": "m",
        "step": "step",
    }
    assert stored(tmp_path, result, "a") == "hello"
    assert stored(tmp_path, result, "pwd").strip() == str(tmp_path.resolve())
    assert result["status"]["metrics"] == [{"name": "loss", "value": "0.25", "step": "step"}]
    assert list((tmp_path / ".modelyard" / "work").iterdir()) == []


def test_a_failed_step_is_tried_again_and_its_log_and_folders_stay(tmp_path: Path) -> None:
    write_run(tmp_path, spec(step("echo what went wrong; exit 3", backoffLimit=1)))
    done = modelyard(tmp_path, "run", "-f", "trainingrun.yaml")
    assert done.returncode == 1
    assert done.stderr.count("step | what went wrong") == 2
    assert "step: StepFailed" in done.stderr
    assert "tried again in 1 s" in done.stderr
    assert "run failed: StepFailed: exit code 3; the whole log is in " in done.stdout.replace("\n", " ")
    logs = sorted((tmp_path / ".modelyard" / "runs").glob("*/step/*/log.txt"))
    assert [log.read_text().splitlines()[-1] for log in logs] == ["what went wrong"] * 2
    assert len(list((tmp_path / ".modelyard" / "work").glob("*/step-*"))) == 2


def test_an_attempt_that_succeeds_later_is_a_success(tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; exit 1; }}; {KEEP}"
    write_run(tmp_path, spec(step(script, outputs=["rows"])))
    result = run_json(tmp_path, "-f", "trainingrun.yaml")
    (state,) = result["status"]["steps"]
    assert (state["state"], state["attempt"], state["failures"]) == ("Succeeded", 2, 1)


@pytest.mark.parametrize(
    ("script", "fields", "reason", "said"),
    [
        ("true", {"outputs": ["rows"]}, "OutputEmpty", "holds no file"),
        ("ln -s /etc/passwd $MODELYARD_OUTPUTS_DIR/rows/x", {"outputs": ["rows"]}, "OutputRefused", "x"),
        ("touch $MODELYARD_OUTPUTS_DIR/model/x", {"outputs": ["model"]}, "InvalidModel", "model"),
        ("sleep 600", {"activeDeadlineSeconds": 1, "backoffLimit": 0}, "DeadlineExceeded", "activeDeadlineSeconds"),
        ("trap '' TERM; kill -KILL $$$$", {"backoffLimit": 0}, "StepFailed", "signal 9"),
    ],
)
def test_a_failure_has_the_reason_that_it_has_in_a_cluster(
    tmp_path: Path, script: str, fields: dict[str, Any], reason: str, said: str
) -> None:
    write_run(tmp_path, spec(step(script, **fields)))
    result = run_json(tmp_path, "-f", "trainingrun.yaml")
    assert condition(result, "Stalled")["status"] == "True"
    assert condition(result, "Ready")["reason"] == reason
    assert said in condition(result, "Ready")["message"]
    assert result["status"]["steps"][0]["attempt"] == 1


def test_the_runs_deadline_ends_a_step(tmp_path: Path) -> None:
    write_run(tmp_path, spec(step("sleep 600"), activeDeadlineSeconds=2))
    result = run_json(tmp_path, "-f", "trainingrun.yaml")
    assert condition(result, "Ready")["reason"] == "DeadlineExceeded"
    assert result["status"]["steps"][0]["attempt"] == 1


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, spec({**step(""), "command": ["no-such-program"], "backoffLimit": 0}))
    result = run_json(tmp_path, "-f", "trainingrun.yaml")
    assert "no-such-program: cannot be started" in condition(result, "Ready")["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_step_and_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    write_run(tmp_path, spec(step(f"sleep 600 & echo $! > {ready}.new; mv {ready}.new {ready}; wait")))
    command = [*COMMAND, "run", "-f", "trainingrun.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(ready.exists, seconds=SECONDS, what="the step to run")
    child = int(ready.read_text())
    process.send_signal(number)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, output
    assert "Interrupted" in output
    assert not runs(child)


def test_a_step_leaves_no_process_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    write_run(tmp_path, spec(step(f"sleep 600 & echo $! > {pid}; {KEEP}", outputs=["rows"])))
    started = time.monotonic()
    assert condition(run_json(tmp_path, "-f", "trainingrun.yaml"), "Ready")["status"] == "True"
    assert time.monotonic() - started < 60
    assert not runs(int(pid.read_text()))


def test_a_flood_of_output_is_bounded_and_harmless(tmp_path: Path) -> None:
    script = f"head -c 3000000 /dev/zero | tr '\\0' x; printf '\\033[2J\\xff\\n'; {KEEP}"
    write_run(tmp_path, spec(step(script, outputs=["rows"])))
    done = modelyard(tmp_path, "run", "-f", "trainingrun.yaml")
    assert done.returncode == 0
    assert max(map(len, done.stderr.splitlines())) < 70_000
    assert "\033" not in done.stderr


@pytest.mark.parametrize(
    ("options", "manifest", "message"),
    [
        (["-p", "x"], {}, "--parameter must be NAME=VALUE, got 'x'"),
        (["--input", "x=."], {}, "--input: must name an entry of spec.inputs (there are none), got 'x'"),
        (["--input", "x=missing"], {}, "must be a file or folder that exists"),
        (["--store", "a b"], {}, "--store: must be a path without spaces"),
        ([], {"model": "M"}, "spec.model: must match"),
        ([], {"steps": [{"name": "s", "image": "i"}]}, "spec.steps[0].command: must be set"),
        ([], {"inputs": [{"name": "a", "uri": "file:///etc/no-such/"}]}, "input 'a' (file:///etc/no-such/)"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    tmp_path: Path, options: list[str], manifest: dict[str, Any], message: str
) -> None:
    write_run(tmp_path, {**spec(step("touch started")), **manifest})
    done = modelyard(tmp_path, "run", "-f", "trainingrun.yaml", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "started").exists()


def test_a_pinned_input_that_has_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n")
    pinned = {"name": "a", "uri": f"file://{tmp_path}/a.csv", "digest": "sha256:" + "0" * 64}
    write_run(tmp_path, spec(step("true"), inputs=[pinned]))
    done = modelyard(tmp_path, "run", "-f", "trainingrun.yaml")
    assert done.returncode == 2
    assert "but `digest` pins sha256:0000" in done.stderr


ENGINE = """\
#!/bin/sh
# Stands in for docker: runs the command of `run` here, with the options written down.
echo "$@" >> "$(dirname "$0")/calls"
case "$1" in run) ;; *) exit 0 ;; esac
while [ $# -gt 0 ]; do
  case "$1" in
    --volume) case "$2" in *:/modelyard/work) work="${2%%:*}" ;; esac; shift 2 ;;
    --entrypoint) entry="$2"; shift 2 ;;
    --env|--name|--user|--security-opt|--cap-drop|--workdir) shift 2 ;;
    --*|run) shift ;;
    *) shift; break ;;
  esac
done
MODELYARD_OUTPUTS_DIR="$work/outputs" exec "$entry" "$@"
"""


def test_a_container_stands_for_the_step_when_asked(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(ENGINE)
    (tmp_path / "bin" / "docker").chmod(0o755)
    write_run(tmp_path, spec(step(KEEP, outputs=["rows"], workingDir="/src")))
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    result = run_json(tmp_path, "-f", "trainingrun.yaml", "--runner", "container", env=env)
    assert condition(result, "Ready")["reason"] == "Succeeded", result
    run, removed = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert "example.com/none:1 -c" in run
    assert "--env MODELYARD_OUTPUTS_DIR=/modelyard/work/outputs" in run
    assert removed.startswith("rm --force modelyard-")


def test_working_folders_are_kept_when_asked(tmp_path: Path) -> None:
    write_run(tmp_path, spec(step(KEEP, outputs=["rows"])))
    run_json(tmp_path, "-f", "trainingrun.yaml", "--keep")
    (kept,) = (tmp_path / ".modelyard" / "work").glob("*/step-1/work/outputs/rows/file")
    assert kept.read_text() == "kept\n"
