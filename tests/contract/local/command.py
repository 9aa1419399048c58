"""`modelyard` as a person types it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

SECONDS = 100.0
COMMAND = (sys.executable, "-m", "modelyard.cli.main")


def modelyard(
    folder: Path, *arguments: object, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)


def run_json(folder: Path, *arguments: object, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a TrainingRun and return what it became."""
    done = modelyard(folder, "run", *arguments, "-o", "json", env=env)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write_run(folder: Path, spec: dict[str, Any], name: str = "run") -> Path:
    manifest = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": name},
        "spec": spec,
    }
    file = folder / "trainingrun.yaml"
    file.write_text(yaml.safe_dump(manifest))
    return file


def step(script: str, **fields: Any) -> dict[str, Any]:
    return {"name": "step", "image": "example.com/none:1", "command": ["bash", "-c", script], **fields}
