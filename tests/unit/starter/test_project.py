from pathlib import Path

import pytest

from modelyard.cli.validate import check_text, valid
from modelyard.starter import project
from modelyard.starter.project import FILES, MAX_MODEL_NAME, StarterError, model_name, render, write


@pytest.mark.parametrize("model", ["m", "late-parcel", "a" * MAX_MODEL_NAME])
def test_manifests_are_valid_for_every_allowed_name(model: str) -> None:
    files = render(model)
    manifests = [path for path in files if path.endswith(".yaml") and not path.startswith(".")]
    assert len(manifests) == 5
    for path in manifests:
        assert valid(check_text(path, files[path])), list(check_text(path, files[path]))


def test_no_placeholder_is_left() -> None:
    assert not [path for path, content in render("m").items() if "{{" in content]


@pytest.mark.parametrize("model", ["", "A", "1a", "a-", "a_b", "a" * (MAX_MODEL_NAME + 1), "a\n", "../x"])
def test_other_names_are_refused(model: str) -> None:
    with pytest.raises(StarterError, match="--model must be at most 31 lower-case letters"):
        render(model)


@pytest.mark.parametrize(
    ("folder", "name"), [("My Model 2", "my-model-2"), ("2nd", "nd"), ("___", "model"), ("x" * 80, "x" * 31)]
)
def test_a_folder_gives_an_allowed_name(tmp_path: Path, folder: str, name: str) -> None:
    assert model_name(tmp_path / folder) == name
    render(name)


def test_nothing_is_written_over_or_beside_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "train.py").write_text("mine")
    with pytest.raises(StarterError, match=r"has steps/train\.py already; nothing was written"):
        write(tmp_path, render("m"))
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["train.py"]
    assert (tmp_path / "steps" / "train.py").read_text() == "mine"


def test_every_template_is_used() -> None:
    folder = Path(project.__file__).parent / "templates"
    assert {f"{name}.template" for name in FILES.values()} == {file.name for file in folder.iterdir()}
