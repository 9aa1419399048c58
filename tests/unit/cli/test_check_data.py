from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from modelyard.cli.check_data import DataError, check_data, find_expectations
from modelyard.cli.main import app

RUN = """
apiVersion: v1
kind: ConfigMap
---
apiVersion: modelyard.dev/v1alpha1
kind: TrainingRun
metadata: {name: r}
spec:
  model: m
  inputs:
  - name: flights
    uri: s3://b/flights/
    expectations: {schema: SameAsPrevious, columns: [{name: delay, type: Number, maximum: "100"}]}
  - {name: planes, uri: s3://b/planes/, expectations: {minimumRows: 3}}
  - {name: code, uri: s3://b/code/}
  steps: [{name: s, image: i}]
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(RUN)
    return path


def data(folder: Path, text: str) -> Path:
    path = folder / "t.csv"
    path.write_text(text)
    return path


def test_data_is_checked_and_compared_as_a_run_would(tmp_path: Path, manifest: Path) -> None:
    saved = tmp_path / "profile.json"
    first = check_data(data(tmp_path, "delay,carrier\n1,AA\n"), manifest, "flights", None, saved)
    assert (first.is_valid, first.rows, len(first.findings)) == (True, 1, 1)
    second = check_data(data(tmp_path, "delay\n101\n"), manifest, "flights", saved, None)
    assert [finding.text for finding in second.findings if finding.severity == "Error"] == [
        "column 'carrier' is gone, the previous run had it",
        "column 'delay' has 1 values (100 %) greater than 100, the greatest 101",
    ]


@pytest.mark.parametrize(("rows", "code", "verdict"), [(3, 0, "as expected"), (2, 1, "DataInvalid")])
def test_exit_code_says_whether_the_data_is_as_expected(
    tmp_path: Path, manifest: Path, rows: int, code: int, verdict: str
) -> None:
    path = data(tmp_path, "a\n" + "1\n" * rows)
    done = CliRunner().invoke(app, ["check-data", str(path), "-e", str(manifest), "--input", "planes"])
    assert (done.exit_code, verdict in done.output) == (code, True)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (RUN, None, "f: name one of 'flights', 'planes' with --input"),
        (RUN, "trains", "f: has no input 'trains', it has 'flights', 'planes', 'code'"),
        (RUN, "code", "f: set `expectations` of 'code'"),
        ("a: [", None, "f: is no YAML: "),
        ("", None, "f: must hold one TrainingRun or Pipeline of modelyard.dev/v1alpha1, holds 0"),
        (RUN.replace("minimumRows: 3", "minimumRows: -3"), "planes", "f: `spec.inputs.1.expectations.minimumRows`: "),
    ],
    ids=["several", "unknown", "without", "yaml", "nothing", "invalid"],
)
def test_manifest_that_does_not_say_what_to_check_is_told(text: str, name: str | None, message: str) -> None:
    with pytest.raises(DataError) as raised:
        find_expectations(text, "f", name)
    assert str(raised.value).startswith(message)


def test_template_of_a_pipeline_is_read() -> None:
    spec = yaml.safe_load(RUN.partition("---")[2])["spec"]
    pipeline = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "Pipeline", "spec": {"template": {"spec": spec}}}
    name, wanted = find_expectations(yaml.safe_dump(pipeline), "f", "planes")
    assert (name, wanted.minimum_rows) == ("planes", 3)


def test_files_that_are_not_there_are_named(tmp_path: Path, manifest: Path) -> None:
    with pytest.raises(DataError, match="must be a file or folder"):
        check_data(tmp_path / "nothing", manifest, None, None, None)
    with pytest.raises(DataError, match="cannot be read"):
        check_data(manifest, tmp_path / "nothing", None, None, None)
    with pytest.raises(DataError, match="is no profile"):
        check_data(data(tmp_path, "a\n1\n"), manifest, "planes", manifest, None)
