"""`fetch`, `validate` and `publish` as a pod runs them, against a real S3 server."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelyard.storage.manifests import FileEntry, Manifest, digest_of
from tests.support.git import GitServer
from tests.support.s3 import S3Server


@dataclass
class Pod:
    """The folders and the environment of a step's pod."""

    root: Path
    environment: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def log(self) -> Path:
        return self.root / "termination-log"

    def start(self, program: str, **variables: str) -> subprocess.Popen[str]:
        self.log.write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "MODELYARD_INPUTS_DIR": str(self.inputs),
            "MODELYARD_OUTPUTS_DIR": str(self.work / "outputs"),
            "MODELYARD_METRICS_FILE": str(self.work / "metrics.jsonl"),
            "MODELYARD_TERMINATION_LOG": str(self.log),
            "MODELYARD_STORE_DEADLINE_SECONDS": "0",
            "MODELYARD_RUN_UID": "uid-1",
            "MODELYARD_STEP": "train",
            "MODELYARD_ATTEMPT": "2",
            **self.environment,
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, "-m", f"modelyard.steps.{program}"], env=environment, stdout=subprocess.PIPE, text=True
        )

    def run(self, program: str, **variables: str) -> tuple[int, dict[str, Any], str]:
        """Return exit code, termination message and log."""
        process = self.start(program, **variables)
        log, _ = process.communicate(timeout=60)
        return process.returncode, json.loads(self.log.read_text()), log


@pytest.fixture
def pod(s3_server: S3Server, bucket: str, tmp_path: Path) -> Pod:
    for name in ("inputs", "work/outputs"):
        (tmp_path / "pod" / name).mkdir(parents=True)
    return Pod(tmp_path / "pod", {**s3_server.environment, "MODELYARD_STORE_URI": f"s3://{bucket}/air/"})


@pytest.fixture
def data(s3_server: S3Server, bucket: str) -> Path:
    folder = s3_server.root / bucket / "data"
    folder.mkdir()
    (folder / "flights.csv").write_bytes(b"a,b\n1,2\n")
    return folder


def _sources(bucket: str, digest: str = digest_of(b"a,b\n1,2\n"), path: str = "data/flights.csv") -> str:
    return json.dumps([{"name": "flights", "uri": f"s3://{bucket}/{path}", "digest": digest}])


@pytest.mark.usefixtures("data")
def test_fetch_prepares_everything_that_user_code_sees(pod: Pod, bucket: str) -> None:
    parameters = '{"parameters": {"maxDepth": "6"}, "seed": 7, "model": "flight-delay", "step": "train"}'
    code, message, log = pod.run(
        "fetch", MODELYARD_SOURCES=_sources(bucket), MODELYARD_PARAMETERS=parameters, MODELYARD_OUTPUTS='["model"]'
    )
    assert (code, message) == (0, {})
    assert (pod.inputs / "flights" / "flights.csv").read_bytes() == b"a,b\n1,2\n"
    assert (pod.inputs / ".modelyard" / "parameters.json").read_text() == parameters
    assert (pod.work / "outputs" / "model").is_dir()
    assert (pod.work / "tmp").is_dir()
    assert "flights: verified sha256:" in log


def test_reference_is_told_and_not_fetched(pod: Pod) -> None:
    source = {"name": "flights", "uri": "s3://elsewhere/lake/", "digest": digest_of(b""), "version": "12"}
    code, message, _ = pod.run("fetch", MODELYARD_SOURCES=json.dumps([{**source, "mode": "Reference"}]))
    assert (code, message) == (0, {})
    (file,) = (pod.inputs / "flights").iterdir()
    assert file.name == ".reference.json"
    assert json.loads(file.read_text()) == {"uri": source["uri"], "digest": source["digest"], "version": "12"}


def test_commit_is_fetched_although_its_branch_has_moved(pod: Pod, git_server: GitServer) -> None:
    repository = git_server.repository("code")
    commit = repository.commit({"train.py": b"1", "lib/a.py": b""})
    repository.commit({"train.py": b"2"})
    manifest = Manifest.of(
        FileEntry(path, digest_of(data)[7:], len(data)) for path, data in {"train.py": b"1", "lib/a.py": b""}.items()
    )
    source = {"name": "code", "uri": f"{repository.uri}@main", "digest": manifest.digest, "version": commit}
    trust = {"SSL_CERT_FILE": str(git_server.certificate_authority)}
    code, message, log = pod.run("fetch", MODELYARD_SOURCES=json.dumps([source]), **trust)
    assert (code, message) == (0, {}), log
    assert (pod.inputs / "code" / "train.py").read_bytes() == b"1"
    assert (pod.inputs / "code" / "lib" / "a.py").read_bytes() == b""
    gone = {**source, "uri": f"{repository.uri}@gone", "version": None}
    code, message, _ = pod.run("fetch", MODELYARD_SOURCES=json.dumps([gone]), **trust)
    assert (code, message["reason"]) == (1, "RefNotFound")


def test_fetch_for_a_model_server_makes_no_workspace(pod: Pod) -> None:
    (pod.work / "outputs").rmdir()
    pod.work.rmdir()
    assert pod.run("fetch", MODELYARD_SOURCES="[]")[0] == 0
    assert not pod.work.exists()


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"MODELYARD_SOURCES": "nonsense"}, "InvalidSource"),
        ({"MODELYARD_SOURCES": '[{"name": "../x", "uri": "s3://b/x", "digest": ""}]'}, "InvalidSource"),
        (
            {"MODELYARD_SOURCES": json.dumps([{"name": "x", "uri": "u", "digest": digest_of(b""), "mode": "Copy"}])},
            "InvalidSource",
        ),
        ({"MODELYARD_PARAMETERS": "{"}, "InvalidSource"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AccessDenied"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "StoreUnreachable"),
    ],
)
def test_fetch_ends_with_the_reason_of_the_contract(
    pod: Pod, bucket: str, variables: dict[str, str], reason: str
) -> None:
    code, message, log = pod.run("fetch", **{"MODELYARD_SOURCES": _sources(bucket), **variables})
    assert (code, message["reason"]) == (1, reason)
    assert message["message"]
    assert "Traceback" not in log


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("path", "digest", "reason"),
    [
        ("data/flights.csv", digest_of(b"other"), "DigestMismatch"),
        ("data/missing.csv", digest_of(b""), "InputNotFound"),
        ("missing/", digest_of(b""), "InputNotFound"),
    ],
)
def test_fetch_leaves_nothing_of_a_refused_source(pod: Pod, bucket: str, path: str, digest: str, reason: str) -> None:
    code, message, _ = pod.run("fetch", MODELYARD_SOURCES=_sources(bucket, digest, path))
    assert (code, message["reason"]) == (1, reason)
    assert path in message["message"]
    assert not (pod.inputs / "flights").exists()


def test_fetch_says_when_the_volume_holds_no_more(pod: Pod, bucket: str, data: Path) -> None:
    (data / "flights.csv").write_bytes(bytes(200_000))
    script = f"ulimit -f 100; trap '' XFSZ; exec {sys.executable} -m modelyard.steps.fetch"
    environment = {
        **pod.environment,
        "MODELYARD_SOURCES": _sources(bucket, digest_of(bytes(200_000))),
        "MODELYARD_INPUTS_DIR": str(pod.inputs),
        "MODELYARD_TERMINATION_LOG": str(pod.log),
        "MODELYARD_STORE_DEADLINE_SECONDS": "0",
    }
    pod.log.write_text("")
    done = subprocess.run(["bash", "-c", script], env=environment, timeout=60, check=False, stdout=subprocess.DEVNULL)
    assert (done.returncode, json.loads(pod.log.read_text())["reason"]) == (1, "DiskFull")


def test_publish_uploads_outputs_and_records_the_result(pod: Pod, s3_server: S3Server, bucket: str) -> None:
    (pod.work / "outputs" / "dataset").mkdir()
    (pod.work / "outputs" / "dataset" / "rows.csv").write_bytes(b"a\n1\n")
    (pod.work / "metrics.jsonl").write_text('{"name": "rocAuc", "value": 0.71}\nnonsense\n')
    code, message, log = pod.run("publish", MODELYARD_OUTPUTS='["dataset"]')
    assert code == 0, message
    (output,) = message["outputs"]
    assert output["uri"] == f"s3://{bucket}/air/blobs/sha256/{output['digest'].removeprefix('sha256:')}"
    assert (output["name"], output["bytes"]) == ("dataset", 4)
    assert message["metrics"] == [{"name": "rocAuc", "value": "0.71"}]
    stored = s3_server.root / bucket / "air" / "runs" / "uid-1" / "train" / "2" / "result.json"
    assert json.loads(stored.read_text()) == message
    assert "1 lines were skipped" in log


def test_publish_again_gives_the_same_result(pod: Pod) -> None:
    (pod.work / "outputs" / "dataset").mkdir()
    (pod.work / "outputs" / "dataset" / "rows.csv").write_bytes(b"a\n1\n")
    first = pod.run("publish", MODELYARD_OUTPUTS='["dataset"]')
    assert pod.run("publish", MODELYARD_OUTPUTS='["dataset"]')[:2] == first[:2] == (0, first[1])


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "AccessDenied"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "StoreUnreachable"),
        ({"MODELYARD_STORE_URI": "s3://no-such-bucket/"}, "StoreUnreachable"),
        ({"MODELYARD_STORE_URI": ""}, "StoreUnreachable"),
        ({"MODELYARD_OUTPUTS": '["missing"]'}, "OutputMissing"),
        ({"MODELYARD_OUTPUTS": '["empty"]'}, "OutputEmpty"),
        ({"MODELYARD_OUTPUTS": '["links"]'}, "OutputRefused"),
        ({"MODELYARD_OUTPUTS": '["model"]'}, "InvalidModel"),
    ],
)
def test_publish_ends_with_the_reason_of_the_contract(pod: Pod, variables: dict[str, str], reason: str) -> None:
    outputs = pod.work / "outputs"
    for name in ("dataset", "empty", "links", "model"):
        (outputs / name).mkdir()
    (outputs / "dataset" / "rows.csv").write_bytes(b"a\n1\n")
    (outputs / "links" / "environ").symlink_to("/proc/self/environ")
    (outputs / "model" / "model.onnx").write_bytes(b"not onnx")
    code, message, log = pod.run("publish", **{"MODELYARD_OUTPUTS": '["dataset"]', **variables})
    assert (code, message["reason"]) == (1, reason)
    assert message["message"]
    assert "Traceback" not in log


def test_publish_says_corrupt_when_the_store_holds_other_bytes(pod: Pod, s3_server: S3Server, bucket: str) -> None:
    (pod.work / "outputs" / "dataset").mkdir()
    (pod.work / "outputs" / "dataset" / "rows.csv").write_bytes(b"a\n1\n")
    assert pod.run("publish", MODELYARD_OUTPUTS='["dataset"]')[0] == 0
    blob = digest_of(b"a\n1\n").removeprefix("sha256:")
    (s3_server.root / bucket / "air" / "blobs" / "sha256" / blob).write_bytes(b"other")
    code, message, _ = pod.run("publish", MODELYARD_OUTPUTS='["dataset"]')
    assert (code, message["reason"]) == (1, "ArtifactCorrupt")


def test_publish_sits_out_an_outage(pod: Pod, own_s3_server: S3Server) -> None:
    (pod.work / "outputs" / "dataset").mkdir()
    (pod.work / "outputs" / "dataset" / "rows.csv").write_bytes(b"a\n1\n")
    own_s3_server.bucket("bucket")
    own_s3_server.stop()
    process = pod.start(
        "publish",
        **own_s3_server.environment,
        MODELYARD_STORE_URI="s3://bucket/",
        MODELYARD_OUTPUTS='["dataset"]',
        MODELYARD_STORE_DEADLINE_SECONDS="60",
    )
    assert process.stdout is not None
    assert any("trying again" in line for line in iter(process.stdout.readline, ""))
    own_s3_server.start()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(pod.log.read_text())["outputs"][0]["name"] == "dataset"


def test_publish_obeys_sigterm_while_it_waits(pod: Pod) -> None:
    (pod.work / "outputs" / "dataset").mkdir()
    (pod.work / "outputs" / "dataset" / "rows.csv").write_bytes(b"a\n1\n")
    process = pod.start(
        "publish",
        MODELYARD_OUTPUTS='["dataset"]',
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        MODELYARD_STORE_DEADLINE_SECONDS="600",
    )
    assert process.stdout is not None
    assert any("trying again" in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("maximum", "ended"),
    [
        ("1", None),
        (
            "0",
            {
                "reason": "DataInvalid",
                "message": "input 'flights': column 'a' has 1 values (100 %) greater than 0, the greatest 1",
            },
        ),
    ],
)
def test_data_is_judged_and_its_profile_kept_either_way(
    pod: Pod, s3_server: S3Server, bucket: str, maximum: str, ended: dict[str, str] | None
) -> None:
    outputs = {"MODELYARD_OUTPUTS": '["profile"]', "MODELYARD_FAILURE_FILE": str(pod.work / "failure.json")}
    assert pod.run("fetch", MODELYARD_SOURCES=_sources(bucket), **outputs)[0] == 0
    expectations = json.dumps({"flights": {"columns": [{"name": "a", "maximum": maximum}]}})
    assert pod.run("validate", MODELYARD_EXPECTATIONS=expectations, **outputs)[:2] == (0, {})
    code, message, _ = pod.run("publish", **outputs)
    stored = json.loads((s3_server.root / bucket / "air/runs/uid-1/train/2/result.json").read_text())
    assert [output["name"] for output in stored["outputs"]] == ["profile"]
    if ended:
        assert (code, message, stored["failure"]) == (1, ended, ended)
    else:
        assert (code, message) == (0, stored)


def test_programs_start_without_heavy_libraries() -> None:
    heavy = "{'pandas', 'sklearn', 'numpy', 'onnx', 'onnxruntime', 'pyarrow', 'kubernetes', 'aiohttp', 'pydantic'}"
    script = f"import sys, modelyard.steps.fetch, modelyard.steps.publish; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
