import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelyard.cli.main import app
from modelyard.cli.validate import ValidateError, validate_files

GOOD = """\
apiVersion: modelyard.dev/v1alpha1
kind: Deployment
metadata: {name: serve}
spec: {model: {name: m, version: 1}}
"""
BAD = GOOD.replace("version: 1", "version: 0")


def test_folders_are_searched_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("a.yaml", "deep/b.yml", ".git/c.yaml", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(GOOD)
    files = [report.file for report in validate_files([str(tmp_path)])]
    assert files == [str(tmp_path / "a.yaml"), str(tmp_path / "deep" / "b.yml")]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(BAD))
    (report,) = validate_files(["-"])
    assert list(report.lines()) == ["-:4: spec.model.version: must be at least 1, is 0"]


@pytest.mark.parametrize("name", ["missing.yaml", "empty"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValidateError, match=name):
        list(validate_files([str(tmp_path / name)]))


def test_each_problem_is_one_line_and_the_exit_code_says_whether_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(f"{BAD}---\napiVersion: v1\nkind: Secret\n---\n- [\n")
    good = CliRunner().invoke(app, ["validate", "-f", str(tmp_path / "a.yaml")])
    assert (good.exit_code, good.output) == (0, f"{tmp_path}/a.yaml:1: Deployment/serve: valid\n")
    bad = CliRunner().invoke(app, ["validate", "-f", str(tmp_path)])
    assert bad.exit_code == 1
    assert [line.removeprefix(f"{tmp_path}/").split(": ")[0] for line in bad.output.splitlines()] == [
        "a.yaml:1",
        "b.yaml:4",
        "b.yaml:6",
        "b.yaml:10",
    ]


def test_json_has_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(BAD)
    done = CliRunner().invoke(app, ["validate", "-f", str(tmp_path / "b.yaml"), "-o", "json"])
    assert done.exit_code == 1
    (report,) = json.loads(done.output)
    assert (report["kind"], report["name"], report["verdict"]) == ("Deployment", "serve", "Invalid")
    assert report["findings"] == [{"line": 4, "field": "spec.model.version", "message": "must be at least 1, is 0"}]
