"""The files of a new project: a data component, a training component, manifests, a test and its CI."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

MAX_MODEL_NAME: Final = 31
"""So that the Pipeline `<model>`, whose runs are named after it, has a name that fits."""

FILES: Final[Mapping[str, str]] = {
    ".github/workflows/ci.yaml": "ci.yaml",
    ".gitignore": "gitignore",
    "Dockerfile": "Dockerfile",
    "README.md": "README.md",
    "pipeline.yaml": "pipeline.yaml",
    "data/deliveries.csv": "deliveries.csv",
    "deploy/development.yaml": "development.yaml",
    "deploy/production.yaml": "production.yaml",
    "deploy/staging.yaml": "staging.yaml",
    "requirements.txt": "requirements.txt",
    "steps/prepare.py": "prepare.py",
    "steps/train.py": "train.py",
    "tests/test_steps.py": "test_steps.py",
    "trainingrun.yaml": "trainingrun.yaml",
}
"""Path in the project, and name of the template (`templates/<name>.template`)."""

_MODEL: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PLACEHOLDER: Final = "{{model}}"


class StarterError(Exception):
    """The project cannot be made; the text says why, and nothing was written."""


def model_name(folder: Path) -> str:
    """Return a name for a model after that of a folder."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return re.sub(r"^[^a-z]+", "", words)[:MAX_MODEL_NAME].strip("-") or "model"


def render(model: str) -> dict[str, str]:
    """Return the content of each file by its path.

    Raises:
        StarterError: the name is not allowed.
    """
    if not _MODEL.fullmatch(model) or len(model) > MAX_MODEL_NAME:
        raise StarterError(
            f"--model must be at most {MAX_MODEL_NAME} lower-case letters, digits and '-', begin with a letter and not "
            f"end with '-', got '{model}'"
        )
    templates = resources.files("modelyard.starter") / "templates"
    return {
        path: (templates / f"{name}.template").read_text(encoding="utf-8").replace(_PLACEHOLDER, model)
        for path, name in FILES.items()
    }


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a project; none is written when one of them is there.

    Raises:
        StarterError: a file is there already, or the folder cannot be written to.
    """
    there = [path for path in files if (folder / path).exists() or (folder / path).is_symlink()]
    if there:
        raise StarterError(f"{folder}: has {', '.join(sorted(there))} already; nothing was written")
    try:
        for path, content in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as new:
                new.write(content)
    except OSError as error:
        raise StarterError(f"{error.filename}: cannot be written: {error.strerror}") from None
