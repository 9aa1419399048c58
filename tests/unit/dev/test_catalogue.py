from pathlib import Path

import pytest

from dev.images import catalogue
from dev.images.catalogue import ALL_IMAGES, PYTHON_IMAGES, Image, content_hash


def test_content_hash_sees_parts_paths_and_bytes(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("1")
    hashes = {
        content_hash(["x"], [a], tmp_path),
        content_hash(["y"], [a], tmp_path),
        content_hash(["x"], [b], tmp_path),
        content_hash(["x"], [a, b], tmp_path),
    }
    before = content_hash(["x"], [a], tmp_path)
    a.write_text("2")
    assert len(hashes) == 4
    assert content_hash(["x"], [a], tmp_path) != before


def test_image_is_named_by_content_and_as_the_development_image() -> None:
    assert Image("server", "0123456789ab").names == [
        "docker.io/library/modelyard-server:0123456789ab",
        "docker.io/library/modelyard-server:dev",
    ]


def test_bytecode_is_no_content() -> None:
    files = catalogue.package_files()
    assert files
    assert not [path for path in files if path.suffix == ".pyc"]


@pytest.mark.parametrize("name", ALL_IMAGES)
def test_image_runs_as_an_unprivileged_user(name: str) -> None:
    assert "USER 65532:65532" in catalogue.dockerfile(name).read_text()


@pytest.mark.parametrize("name", PYTHON_IMAGES)
def test_base_of_a_python_image_is_replaceable(name: str) -> None:
    lines = catalogue.dockerfile(name).read_text().splitlines()
    assert "ARG BASE=python:3.11-slim-bookworm" in lines
    assert "FROM ${BASE} AS dependencies" in lines
