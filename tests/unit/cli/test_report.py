import hashlib
from pathlib import Path
from typing import Any

import pytest

from modelyard.api.v1alpha1 import ModelVersion
from modelyard.cli.report import ReportError, fetch_report, write_report

PAGE = b"<!doctype html>"
DIGEST = f"sha256:{hashlib.sha256(PAGE).hexdigest()}"
HEX = "1" * 64


def version(store: str, *, report: str | None = DIGEST, **spec: Any) -> ModelVersion:
    evaluation = {"metric": "f1", "verdict": "FirstVersion", "reportDigest": report}
    body = {
        "model": "m",
        "version": 7,
        "artifact": {"uri": f"{store}blobs/sha256/{HEX}", "digest": f"sha256:{HEX}"},
        "lineage": {
            "trainingRun": {"name": "r", "uid": "u", "namespace": "air"},
            "parametersDigest": f"sha256:{HEX}",
        },
        "evaluation": evaluation,
    }
    metadata = {"name": "m-v7", "namespace": "air", "uid": "u"}
    return ModelVersion.model_validate({"metadata": metadata, "spec": body | spec})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "models" / "m" / "v7").mkdir(parents=True)
    (tmp_path / "models" / "m" / "v7" / "report.html").write_bytes(PAGE)
    monkeypatch.setenv("MODELYARD_STORE_URI", tmp_path.as_uri())
    return tmp_path.as_uri() + "/"


def test_report_is_fetched_from_the_store_of_the_bytes(store: str) -> None:
    assert fetch_report(version(store)) == PAGE


def test_report_that_was_changed_is_refused(store: str) -> None:
    with pytest.raises(ReportError, match="is not the one of its record: it hashes to sha256:"):
        fetch_report(version(store, report=f"sha256:{HEX}"))


def test_report_that_is_gone_is_named(store: str, tmp_path: Path) -> None:
    (tmp_path / "models" / "m" / "v7" / "report.html").unlink()
    with pytest.raises(ReportError, match=r"report\.html: not found; .* your own credentials"):
        fetch_report(version(store))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"evaluation": None}, "'m-v7' was not evaluated with a report"),
        ({"lineage": None}, "'m-v7' was registered by hand"),
        ({"artifact": {"uri": "s3://bucket/m/", "digest": f"sha256:{HEX}"}}, "'m-v7' was registered by hand"),
    ],
)
def test_version_without_a_report_is_told_so(store: str, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        fetch_report(version(store, **spec))


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file or directory; choose another file with -o"):
        write_report(tmp_path / "gone" / "report.html", PAGE)
