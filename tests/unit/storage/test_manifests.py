import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.storage.errors import InvalidSource
from modelyard.storage.manifests import MAX_BYTES, SCHEMA, FileEntry, Manifest, digest_of, parse_manifest

HEX = "a" * 64

names = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)


def _no_path_is_a_folder(paths: list[str]) -> bool:
    return not any(other.startswith(path + "/") for path in paths for other in paths)


trees = (
    st.lists(paths, unique=True, max_size=8)
    .filter(_no_path_is_a_folder)
    .flatmap(lambda found: st.tuples(*(st.builds(FileEntry, st.just(p), hexes, st.integers(0, 10**9)) for p in found)))
)


def _encode(*files: Mapping[str, Any], **more: Any) -> bytes:
    document = {"files": list(files), "schema": SCHEMA, **more}
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _file(path: Any = "a", sha256: Any = HEX, size: Any = 1) -> dict[str, Any]:
    return {"path": path, "sha256": sha256, "size": size}


@given(trees)
def test_manifest_survives_its_own_json(files: tuple[FileEntry, ...]) -> None:
    manifest = Manifest.of(files)
    assert parse_manifest(manifest.to_json()) == manifest


@given(trees, st.randoms())
def test_manifest_digest_does_not_depend_on_the_order_of_files(files: tuple[FileEntry, ...], random: Any) -> None:
    shuffled = list(files)
    random.shuffle(shuffled)
    assert Manifest.of(shuffled).digest == Manifest.of(files).digest


@given(trees.filter(bool), st.data())
def test_manifest_digest_changes_with_any_file(files: tuple[FileEntry, ...], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(files) - 1))
    changed = FileEntry(files[index].path, files[index].sha256, files[index].size + 1)
    assert Manifest.of([*files[:index], changed, *files[index + 1 :]]).digest != Manifest.of(files).digest


@given(st.binary(max_size=200))
def test_manifest_parser_refuses_noise_with_its_own_error(data: bytes) -> None:
    with pytest.raises(InvalidSource):
        parse_manifest(data)


def test_manifest_is_the_canonical_json_of_the_contract() -> None:
    manifest = Manifest.of([FileEntry("a/b.csv", HEX, 123)])
    expected = f'{{"files":[{{"path":"a/b.csv","sha256":"{HEX}","size":123}}],"schema":"modelyard.dev/manifest/v1"}}'
    assert manifest.to_json() == expected.encode()
    assert manifest.digest == digest_of(expected.encode())
    assert manifest.total_bytes == 123


@pytest.mark.parametrize(
    "path",
    ["../a", "a/../../b", "/etc/passwd", "a//b", "./a", "a/.", "", "a/", "a\x00b", "a\nb", "n" * 256, "d/" * 512 + "f"],
)
def test_manifest_refuses_paths_that_could_leave_the_folder(path: str) -> None:
    with pytest.raises(InvalidSource, match="path"):
        parse_manifest(_encode(_file(path)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{", id="no-json"),
        pytest.param(b"[]", id="no-object"),
        pytest.param(b'{"files":{}}', id="no-list"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(_encode(_file(size=True)), id="boolean-size"),
        pytest.param(_encode(_file(size="1")), id="text-size"),
        pytest.param(_encode(_file(size=-1)), id="negative-size"),
        pytest.param(_encode(_file(size=MAX_BYTES + 1)), id="huge-size"),
        pytest.param(_encode(_file("a", size=MAX_BYTES), _file("b", size=1)), id="huge-total"),
        pytest.param(_encode(_file(sha256="A" * 64)), id="upper-case-digest"),
        pytest.param(_encode(_file(sha256="../../x")), id="path-as-digest"),
        pytest.param(_encode(_file("b"), _file("a")), id="unsorted"),
        pytest.param(_encode(_file("a"), _file("a")), id="twice"),
        pytest.param(_encode(_file("a"), _file("a/b")), id="file-as-folder"),
        pytest.param(_encode(_file(), extra=1), id="extra-field"),
        pytest.param(_encode({**_file(), "mode": 511}), id="extra-file-field"),
        pytest.param(_encode(_file(), schema="modelyard.dev/manifest/v2"), id="other-schema"),
        pytest.param(_encode(_file()) + b"\n", id="trailing-newline"),
        pytest.param(_encode(_file()).replace(b":1", b":1.0"), id="float-size"),
        pytest.param(_encode(_file("x")).replace(b"x", b"\\ud800"), id="surrogate"),
    ],
)
def test_manifest_refuses_what_is_not_canonical(data: bytes) -> None:
    with pytest.raises(InvalidSource):
        parse_manifest(data)
