"""What `register` writes beside a record, on a real S3 server, read back by those who need it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.cli.main import app
from modelyard.cli.records import RecordsError, read_recorded, read_run, read_signature, stored_records
from modelyard.lineage.run import RunRecord, run_to_environment
from modelyard.storage.blobs import BlobWriter
from modelyard.storage.manifests import digest_of
from modelyard.storage.objects import ObjectStore
from modelyard.storage.retry import Patience
from modelyard.storage.trees import scan_output
from tests.support.models import write_linear_classifier
from tests.support.recorded import record, training_run
from tests.support.s3 import S3Server

FILES = {"record.json", "run.json", "provenance.json", "bom.json", "card.md", "openlineage.jsonl"}
RUN = RunRecord.of(training_run())


@dataclass
class Shop:
    """A store with a published model, and the pod of its register step."""

    folder: Path
    """What is in the store."""
    uri: str
    environment: dict[str, str]

    def register(self, **variables: str) -> tuple[int, dict[str, Any]]:
        log = self.folder.parent / "termination-log"
        log.write_text("")
        done = subprocess.run(
            [sys.executable, "-m", "modelyard.steps.register"],
            env={**os.environ, "MODELYARD_TERMINATION_LOG": str(log), **self.environment, **variables},
            check=False,
            timeout=60,
        )
        return done.returncode, json.loads(log.read_text())


@pytest.fixture
def shop(s3_server: S3Server, bucket: str, tmp_path: Path, use_store: Callable[[S3Server], None]) -> Shop:
    use_store(s3_server)
    uri = f"s3://{bucket}/air/"
    model = tmp_path / "inputs" / "model"
    write_linear_classifier(model, {"a": 1.0})
    tree = BlobWriter(ObjectStore(uri), Patience(0, print)).upload_tree(model, scan_output(model))
    artifact = {"uri": tree.uri, "digest": tree.digest, "bytes": tree.bytes}
    asked = record(artifact=artifact, evaluation=None).model_dump(by_alias=True, exclude_none=True, mode="json")
    return Shop(
        s3_server.root / bucket / "air",
        uri,
        {
            **s3_server.environment,
            "MODELYARD_STORE_URI": uri,
            "MODELYARD_STORE_DEADLINE_SECONDS": "0",
            "MODELYARD_INPUTS_DIR": str(tmp_path / "inputs"),
            "MODELYARD_RECORD": json.dumps(asked),
            "MODELYARD_RUN_UID": RUN.uid,
            "MODELYARD_STEP": "register",
            "MODELYARD_ATTEMPT": "1",
            **run_to_environment(RUN),
        },
    )


def test_register_writes_the_run_and_the_documents_beside_the_record(shop: Shop) -> None:
    code, _ = shop.register()
    assert code == 0
    beside = shop.folder / "models" / "flight-delay" / "v7"
    assert {path.name for path in beside.iterdir()} == FILES
    stored = ModelVersionSpec.model_validate_json((beside / "record.json").read_bytes())
    assert stored.lineage is not None
    assert digest_of((beside / "run.json").read_bytes()) == stored.lineage.run_digest
    named = {
        item["name"]: item["digest"]["sha256"]
        for item in json.loads((beside / "provenance.json").read_text())["subject"]
    }
    assert named["flight-delay-v7"] == stored.artifact.digest.removeprefix("sha256:")
    model = (shop.folder.parent / "air" / "blobs" / "sha256" / named["flight-delay-v7/model.onnx"]).read_bytes()
    assert digest_of(model) == f"sha256:{named['flight-delay-v7/model.onnx']}"


def test_second_attempt_writes_the_same(shop: Shop) -> None:
    shop.register()
    beside = shop.folder / "models" / "flight-delay" / "v7"
    before = {path.name: path.read_bytes() for path in beside.iterdir()}
    assert shop.register(MODELYARD_ATTEMPT="2")[0] == 0
    assert {path.name: path.read_bytes() for path in beside.iterdir()} == before


def test_run_that_is_not_the_one_of_the_record_is_not_written(shop: Shop) -> None:
    code, message = shop.register(MODELYARD_RUN_RECORD_0=RUN.to_json()[:-1])
    assert (code, message["reason"]) == (1, "InternalError")
    assert not (shop.folder / "models" / "flight-delay" / "v7" / "run.json").exists()


def test_record_run_and_signature_are_read_back(shop: Shop) -> None:
    shop.register()
    recorded = read_recorded(f"{shop.uri}models/flight-delay/v7/record.json")
    assert recorded.run == read_run(recorded.record) == RUN
    assert [tensor.name for tensor in read_signature(recorded.record.artifact).inputs] == ["a"]
    assert list(stored_records(shop.uri, None)) == [recorded.record]
    assert list(stored_records(shop.uri, "other")) == []


def test_changed_run_is_noticed(shop: Shop) -> None:
    shop.register()
    (shop.folder / "models" / "flight-delay" / "v7" / "run.json").write_text(RUN.to_json() + " ")
    with pytest.raises(RecordsError, match=r"run\.json: must have the digest sha256:"):
        read_recorded(f"{shop.uri}models/flight-delay/v7/record.json")


def test_record_in_the_place_of_another_is_refused(shop: Shop) -> None:
    shop.register()
    (shop.folder / "models" / "flight-delay" / "v7").rename(shop.folder / "models" / "flight-delay" / "v8")
    with pytest.raises(RecordsError, match=r"v8/record\.json: is the record of flight-delay-v7; move it away"):
        list(stored_records(shop.uri, None))


def test_store_that_cannot_be_read_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(RecordsError, match=shop.uri):
        list(stored_records(shop.uri, None))


@pytest.mark.parametrize(
    ("form", "start"), [("text", "ModelVersion flight-delay-v7\n"), ("svg", "<svg "), ("json", "{")]
)
def test_lineage_of_a_record_needs_no_cluster(shop: Shop, form: str, start: str) -> None:
    shop.register()
    place = f"{shop.uri}models/flight-delay/v7/record.json"
    done = CliRunner().invoke(app, ["lineage", "--record", place, "-o", form])
    assert (done.exit_code, done.stdout[: len(start)]) == (0, start)
    assert "maxDepth" in done.stdout


def test_lineage_of_a_file_works_without_the_run_beside_it(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(record().model_dump_json(by_alias=True, exclude_none=True))
    done = CliRunner().invoke(app, ["lineage", "--record", str(path)])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "ModelVersion flight-delay-v7")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lineage"], "name exactly one of mv/NAME and --record"),
        (["lineage", "mv/x", "--record", "y"], "name exactly one of mv/NAME and --record"),
        (["lineage", "--record", "/nowhere/record.json"], "nowhere"),
        (["lineage", "--record", "pyproject.toml"], "is no record of a ModelVersion"),
        (["restore", "ftp://x/"], "must begin with s3://"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_restore_prints_what_kubectl_can_apply(shop: Shop) -> None:
    shop.register()
    done = CliRunner().invoke(app, ["restore", shop.uri, "-o", "json"])
    assert done.exit_code == 0
    items = json.loads(done.stdout)["items"]
    assert [item["metadata"]["name"] for item in items] == ["flight-delay-v7"]
