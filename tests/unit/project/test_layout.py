"""The repository itself keeps the promises that its tools rely on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_operator_folder_does_not_shadow_the_standard_library() -> None:
    """`operator/__init__.py` would be imported instead of the standard module `operator` and break the interpreter."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).parent != ROOT / "operator"


def test_no_module_is_named_like_the_standard_library_operator() -> None:
    assert not list((ROOT / "operator" / "modelyard").rglob("operator.py"))


def test_pinned_requirements_agree_across_images() -> None:
    def pins(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            if line and not line.startswith((" ", "#")):
                package, _, version = line.rstrip(" \\").partition("==")
                found.setdefault(package, set()).add(version)
        return found

    everything = pins("dev.txt")
    for image in ("operator.txt", "server.txt", "trainer.txt"):
        for package, versions in pins(image).items():
            assert versions <= everything[package], f"{image}: {package}"


def test_model_server_image_contains_no_training_or_operator_library() -> None:
    text = (ROOT / "requirements" / "server.txt").read_text()
    for package in ("scikit-learn", "kopf", "kubernetes", "pandas", "pyarrow"):
        assert f"\n{package}==" not in f"\n{text}"
