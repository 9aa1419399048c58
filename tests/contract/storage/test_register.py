"""`register` as a pod runs it, against a real S3 server, on the demo's kind of data; then the report from there."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelyard.api.v1alpha1 import ModelVersion
from modelyard.api.v1alpha1.modelversion import Verdict
from modelyard.cli.report import ReportError, fetch_report
from modelyard.storage.results import MESSAGE_BYTES
from tests.support.flights import PARAMETERS, write_flights
from tests.support.s3 import S3Server

HEX = "a" * 64
EVALUATION = {
    "dataset": "features/test",
    "metric": "rocAuc",
    "goal": "Maximize",
    "slices": [{"column": "carrier", "maximumRegression": "0.02"}],
}


class Pods:
    """Runs the programs of a training run's pods one after another, in folders of a test."""

    def __init__(self, root: Path, store: dict[str, str]) -> None:
        self.root, self.store = root, store
        self.inputs = root / "inputs"

    def step(self, name: str, *, inputs: Path, estimator: str, features: str = PARAMETERS["features"]) -> Path:
        """Run a built-in step and return its outputs."""
        work = self.root / f"{name}-{estimator}"
        (work / "outputs").mkdir(parents=True)
        values = {**PARAMETERS, "features": features, "estimator": estimator, "iterations": "20"}
        if estimator == "logisticRegression":
            values["iterations"] = "500"
        (work / "parameters.json").write_text(json.dumps({"parameters": values, "seed": 7, "model": "m", "step": name}))
        self._run(
            ["modelyard.steps.tabular", name],
            {
                "MODELYARD_INPUTS_DIR": str(inputs),
                "MODELYARD_OUTPUTS_DIR": str(work / "outputs"),
                "MODELYARD_PARAMETERS_FILE": str(work / "parameters.json"),
                "MODELYARD_METRICS_FILE": str(work / "metrics.jsonl"),
                "MODELYARD_SEED": "7",
            },
        )
        return work / "outputs"

    def register(self, record: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
        """Run register and return its termination message."""
        log = self.root / "termination-log"
        log.write_text("")
        self._run(
            ["modelyard.steps.register"],
            {
                **self.store,
                "MODELYARD_INPUTS_DIR": str(self.inputs),
                "MODELYARD_TERMINATION_LOG": str(log),
                "MODELYARD_RECORD": json.dumps(record),
                "MODELYARD_EVALUATION": json.dumps(evaluation),
                "MODELYARD_RUN_UID": "uid-1",
                "MODELYARD_STEP": "register",
                "MODELYARD_ATTEMPT": "1",
            },
        )
        assert len(log.read_bytes()) <= MESSAGE_BYTES
        message: dict[str, Any] = json.loads(log.read_text())
        return message

    @staticmethod
    def _run(arguments: list[str], environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", *arguments]
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_flights_are_judged_recorded_and_reported(
    tmp_path: Path, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = {**s3_server.environment, "MODELYARD_STORE_URI": f"s3://{bucket}/air/"}
    pods = Pods(tmp_path, store)
    write_flights(tmp_path / "data", rows=4000)
    features = pods.step("prepare", inputs=tmp_path / "data", estimator="gradientBoosting")
    for name, estimator in (("model", "gradientBoosting"), ("champion", "logisticRegression")):
        trained = pods.step("train", inputs=features, estimator=estimator)
        pods.inputs.mkdir(exist_ok=True)
        (trained / "model").rename(pods.inputs / name)
    (pods.inputs / "dataset").symlink_to(features / "features")
    artifact = {"uri": f"s3://{bucket}/air/blobs/sha256/{HEX}", "digest": f"sha256:{HEX}", "bytes": 1}
    lineage = {"trainingRun": {"name": "r", "uid": "uid-1", "namespace": "air"}, "parametersDigest": f"sha256:{HEX}"}
    record = {"model": "flight-delay", "version": 7, "artifact": artifact, "lineage": lineage}
    champion = {"version": 6, "digest": f"sha256:{HEX}"}
    found = pods.register(record, {**EVALUATION, "champion": champion, "minimumImprovement": "-0.1"})

    metadata = {"name": "flight-delay-v7", "namespace": "air", "uid": "u"}
    version = ModelVersion.model_validate({"metadata": metadata, "spec": record | {"evaluation": found["evaluation"]}})
    evaluation = version.spec.evaluation
    assert evaluation is not None
    assert evaluation.verdict in {Verdict.BETTER_THAN_CHAMPION, Verdict.SLICE_REGRESSED}
    assert evaluation.champion is not None
    difference = evaluation.champion.difference
    assert difference is not None
    assert float(difference.low or 0) < float(difference.value) < float(difference.high or 0)
    assert evaluation.importance[0].feature == "carrier"
    assert [part.column for part in evaluation.slices] == ["carrier"]

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    page = fetch_report(version)
    assert evaluation.report_digest == f"sha256:{hashlib.sha256(page).hexdigest()}"
    assert b"ROC curve" in page
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ReportError, match=r"the store refused access .* your own credentials"):
        fetch_report(version)
