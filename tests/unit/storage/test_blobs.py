import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.storage.blobs import BlobWriter, conditional_create_supported, map_concurrently, read_blob
from modelyard.storage.errors import ArtifactCorrupt, ObjectNotFound, OutputRefused, StoreUnreachable
from modelyard.storage.manifests import parse_manifest
from modelyard.storage.retry import Patience
from modelyard.storage.trees import scan_output
from tests.support.stores import MemoryStore

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "big.bin").write_bytes(CONTENT)
    (tmp_path / "out" / "sub" / "small").write_bytes(b"small")
    (tmp_path / "out" / "sub" / "nothing").write_bytes(b"")
    return tmp_path / "out"


def _patience(seconds: float = 0) -> Patience:
    return Patience(seconds, lambda _: None)


def _writer(store: MemoryStore, seconds: float = 0) -> BlobWriter:
    return BlobWriter(store, _patience(seconds), piece_bytes=100)


def _overwrite(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_upload_writes_pieces_and_the_manifest_last(folder: Path) -> None:
    store = MemoryStore()
    tree = _writer(store).upload_tree(folder, scan_output(folder))
    sha256 = _sha256(CONTENT)
    pieces = [store.objects[f"blobs/sha256/{sha256}.{index:05d}"] for index in range(11)]
    assert b"".join(pieces) == CONTENT
    assert f"blobs/sha256/{sha256}" not in store.objects
    assert store.objects[f"blobs/sha256/{_sha256(b'small')}"] == b"small"
    assert store.url(store.writes[-1]) == tree.uri
    manifest = parse_manifest(store.objects[store.writes[-1]])
    assert manifest.digest == tree.digest
    assert [(file.path, file.size) for file in manifest.files] == [
        ("big.bin", len(CONTENT)),
        ("sub/nothing", 0),
        ("sub/small", 5),
    ]
    assert tree.bytes == len(CONTENT) + 5


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200])
def test_blob_reads_back_at_every_size_around_a_piece(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:size])
    store = MemoryStore()
    _writer(store).upload_tree(tmp_path, scan_output(tmp_path))
    assert b"".join(read_blob(store, _sha256(CONTENT[:size]), size)) == CONTENT[:size]
    has_pieces = any(key.endswith(".00000") for key in store.objects)
    assert has_pieces == (size > 100)


def test_blob_with_a_missing_piece_is_not_found(folder: Path) -> None:
    store = MemoryStore()
    _writer(store).upload_tree(folder, scan_output(folder))
    del store.objects[f"blobs/sha256/{_sha256(CONTENT)}.00010"]
    with pytest.raises(ObjectNotFound):
        list(read_blob(store, _sha256(CONTENT), len(CONTENT)))


@pytest.mark.parametrize("honours", [True, False])
def test_upload_again_writes_nothing(folder: Path, *, honours: bool) -> None:
    store = MemoryStore(honours_create_only=honours)
    first = _writer(store).upload_tree(folder, scan_output(folder))
    store.writes.clear()
    assert _writer(store).upload_tree(folder, scan_output(folder)) == first
    assert [key for key in store.writes if "sha256" in key] == []


@pytest.mark.parametrize("honours", [True, False])
def test_upload_never_replaces_other_bytes(folder: Path, *, honours: bool) -> None:
    store = MemoryStore(honours_create_only=honours)
    key = f"blobs/sha256/{_sha256(b'small')}"
    store.objects[key] = b"smaII"
    with pytest.raises(ArtifactCorrupt, match=key):
        _writer(store).upload_tree(folder, scan_output(folder))
    assert store.objects[key] == b"smaII"


def test_ignored_create_only_writes_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    assert conditional_create_supported(MemoryStore())
    assert not caplog.records
    assert not conditional_create_supported(MemoryStore(honours_create_only=False))
    assert "ignores create-only writes" in caplog.text


def test_upload_sits_out_an_outage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.storage.retry.FIRST_DELAY_SECONDS", 0.001)
    store = MemoryStore()
    writer = _writer(store, seconds=60)
    store.outages = 5
    tree = writer.upload_tree(folder, scan_output(folder))
    assert store.url(store.writes[-1]) == tree.uri


def test_upload_ends_with_the_outage_when_patience_ends(folder: Path) -> None:
    store = MemoryStore()
    writer = _writer(store)
    store.outages = 1000
    with pytest.raises(StoreUnreachable):
        writer.upload_tree(folder, scan_output(folder))


def test_upload_refuses_a_file_that_changes_meanwhile(folder: Path) -> None:
    store = MemoryStore()
    store.after_put = lambda _: _overwrite(folder / "big.bin")
    with pytest.raises(OutputRefused, match="changed"):
        BlobWriter(store, _patience(), piece_bytes=10).upload_tree(folder, scan_output(folder))
    for key, data in store.objects.items():
        assert not key.startswith(f"blobs/sha256/{_sha256(CONTENT)}") or data in CONTENT


def test_map_concurrently_bounds_what_is_in_flight() -> None:
    lock = threading.Lock()
    running = 0
    most = 0
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(50):
            drawn += 1
            yield item

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running, drawn - len(results))
        with lock:
            running -= 1
        return item

    results: list[int] = []
    for result in map_concurrently(work, items(), workers=4):
        results.append(result)  # noqa: PERF402 - the generator is to be drawn one by one
    assert sorted(results) == list(range(50))
    assert most <= 8


def test_map_concurrently_raises_the_first_failure() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    with pytest.raises(ValueError, match="three"):
        list(map_concurrently(work, range(100), workers=4))
