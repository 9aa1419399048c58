"""The storage package against a real S3 server."""

import hashlib
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.storage.blobs import BlobWriter, conditional_create_supported
from modelyard.storage.errors import (
    AccessDenied,
    AlreadyExists,
    ArtifactCorrupt,
    DigestMismatch,
    InvalidSource,
    ObjectNotFound,
    StorageError,
    StoreUnreachable,
)
from modelyard.storage.manifests import FileEntry, Manifest, digest_of
from modelyard.storage.objects import ObjectStore
from modelyard.storage.retry import Patience
from modelyard.storage.sources import Identity, describe_table, fetch_source, hash_source, list_source
from modelyard.storage.tables import Table
from modelyard.storage.trees import scan_output
from tests.support.s3 import S3Server

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _environment(s3_server: S3Server, use_store: Callable[[S3Server], None]) -> None:
    use_store(s3_server)


@pytest.fixture
def store(bucket: str) -> ObjectStore:
    return ObjectStore(f"s3://{bucket}/air-development/")


@pytest.fixture
def blobs(s3_server: S3Server, bucket: str) -> Path:
    """The folder in which the server keeps the blobs."""
    return s3_server.root / bucket / "air-development" / "blobs" / "sha256"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    (folder / "sub").mkdir(parents=True)
    (folder / "big.bin").write_bytes(CONTENT)
    (folder / "sub" / "ünï cödé #%.csv").write_bytes(b"a,b\n")
    (folder / "nothing").write_bytes(b"")
    return folder


def _now() -> Patience:
    return Patience(0, print)


def _fetch(uri: str, digest: str, folder: Path) -> Identity:
    return fetch_source(list_source(uri), digest, folder, _now())


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_tree_survives_the_way_to_the_store_and_back(store: ObjectStore, output: Path, tmp_path: Path) -> None:
    tree = BlobWriter(store, _now(), piece_bytes=1000).upload_tree(output, scan_output(output))
    assert _fetch(tree.uri, tree.digest, tmp_path / "input") == Identity(tree.digest, tree.bytes)
    assert _content(tmp_path / "input") == _content(output)


def test_server_honours_create_only_writes(store: ObjectStore) -> None:
    store.put_if_absent("x", b"first")
    with pytest.raises(AlreadyExists):
        store.put_if_absent("x", b"second")
    assert b"".join(store.get("x")) == b"first"
    assert conditional_create_supported(store)


def test_one_of_many_racing_writers_wins(store: ObjectStore) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def write(number: int) -> None:
        start.wait()
        try:
            store.put_if_absent("raced", str(number).encode())
        except AlreadyExists:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert b"".join(store.get("raced")) == str(won[0]).encode()


@pytest.mark.parametrize("damage", [b"X" + CONTENT[1:], CONTENT[:-1], CONTENT + b"X", b""])
def test_fetch_refuses_a_damaged_blob(
    store: ObjectStore, blobs: Path, output: Path, tmp_path: Path, damage: bytes
) -> None:
    tree = BlobWriter(store, _now()).upload_tree(output, scan_output(output))
    (blobs / _sha256(CONTENT)).write_bytes(damage)
    with pytest.raises(DigestMismatch, match=r"big\.bin"):
        _fetch(tree.uri, tree.digest, tmp_path / "input")
    assert not (tmp_path / "input").exists()


def test_fetch_refuses_a_damaged_piece_and_publish_says_corrupt(
    store: ObjectStore, blobs: Path, output: Path, tmp_path: Path
) -> None:
    writer = BlobWriter(store, _now(), piece_bytes=1000)
    tree = writer.upload_tree(output, scan_output(output))
    (blobs / f"{_sha256(CONTENT)}.00003").write_bytes(b"X" * 1000)
    with pytest.raises(DigestMismatch, match=r"big\.bin"):
        _fetch(tree.uri, tree.digest, tmp_path / "input")
    with pytest.raises(ArtifactCorrupt, match="00003"):
        writer.upload_tree(output, scan_output(output))


def test_fetch_refuses_a_damaged_manifest(store: ObjectStore, blobs: Path, output: Path, tmp_path: Path) -> None:
    tree = BlobWriter(store, _now()).upload_tree(output, scan_output(output))
    manifest = blobs / tree.digest.removeprefix("sha256:")
    manifest.write_bytes(manifest.read_bytes().replace(b"big.bin", b"bug.bin"))
    with pytest.raises(DigestMismatch, match="manifest"):
        _fetch(tree.uri, tree.digest, tmp_path / "input")


def test_fetch_refuses_another_digest_than_the_uri_names(store: ObjectStore, output: Path, tmp_path: Path) -> None:
    tree = BlobWriter(store, _now()).upload_tree(output, scan_output(output))
    with pytest.raises(DigestMismatch):
        _fetch(tree.uri, digest_of(b"other"), tmp_path / "input")


def test_fetch_names_a_missing_blob(store: ObjectStore, blobs: Path, output: Path, tmp_path: Path) -> None:
    tree = BlobWriter(store, _now()).upload_tree(output, scan_output(output))
    (blobs / _sha256(CONTENT)).unlink()
    with pytest.raises(ObjectNotFound, match=_sha256(CONTENT)):
        _fetch(tree.uri, tree.digest, tmp_path / "input")


@pytest.mark.parametrize("path", ["../escaped", "a/../../escaped", "/escaped"])
def test_fetch_refuses_a_hostile_manifest(store: ObjectStore, tmp_path: Path, path: str) -> None:
    """Whoever may write to the store may name any path, with a digest that fits."""
    hostile = Manifest((FileEntry(path, _sha256(b"x"), 1),))
    store.put(f"blobs/sha256/{_sha256(b'x')}", b"x")
    store.put(f"blobs/sha256/{_sha256(hostile.to_json())}", hostile.to_json())
    with pytest.raises(InvalidSource, match="path"):
        _fetch(store.url(f"blobs/sha256/{_sha256(hostile.to_json())}"), hostile.digest, tmp_path / "in" / "input")
    assert not list(tmp_path.rglob("escaped"))


def test_object_is_fetched_under_its_name(store: ObjectStore, tmp_path: Path) -> None:
    store.put("data/flights 1.csv".replace(" ", "_"), CONTENT)
    uri = store.url("data/flights_1.csv")
    assert _fetch(uri, digest_of(CONTENT), tmp_path / "input").bytes == len(CONTENT)
    assert _content(tmp_path / "input") == {"flights_1.csv": CONTENT}
    with pytest.raises(DigestMismatch, match=digest_of(CONTENT)):
        _fetch(uri, digest_of(b"other"), tmp_path / "input")


def test_prefix_is_fetched_with_the_digest_of_its_manifest(store: ObjectStore, tmp_path: Path) -> None:
    store.put("data/a.csv", b"a")
    store.put("data/sub/b.csv", b"bb")
    store.put("database/c.csv", b"not under the prefix")
    manifest = Manifest.of([FileEntry("a.csv", _sha256(b"a"), 1), FileEntry("sub/b.csv", _sha256(b"bb"), 2)])
    assert hash_source(list_source(store.url("data/")), _now()) == Identity(manifest.digest, 3)
    _fetch(store.url("data/"), manifest.digest, tmp_path / "input")
    assert _content(tmp_path / "input") == {"a.csv": b"a", "sub/b.csv": b"bb"}


def test_folder_markers_are_no_files(store: ObjectStore, s3_server: S3Server, bucket: str) -> None:
    store.put("data/sub/b.csv", b"bb")
    (s3_server.root / bucket / "air-development" / "data" / "empty").mkdir()
    assert [file.path for file in list_source(store.url("data/")).files] == ["sub/b.csv"]


def test_fingerprint_changes_when_an_object_is_written_again(store: ObjectStore) -> None:
    store.put("data/a.csv", b"a")
    first = list_source(store.url("data/a.csv")).fingerprint, list_source(store.url("data/")).fingerprint
    assert first == (list_source(store.url("data/a.csv")).fingerprint, list_source(store.url("data/")).fingerprint)
    store.put("data/a.csv", b"b")
    second = list_source(store.url("data/a.csv")).fingerprint, list_source(store.url("data/")).fingerprint
    assert all(old != new for old, new in zip(first, second, strict=True))


def test_version_that_was_seen_is_read_after_the_object_was_overwritten_or_deleted(
    store: ObjectStore, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    s3_server.enable_versioning(bucket)
    store.put("flights.csv", b"old")
    uri = store.url("flights.csv")
    before = list_source(uri)
    assert before.version
    assert before.is_fixed
    store.put("flights.csv", b"new!")
    after = list_source(uri)
    assert after.version not in (None, before.version)
    for listing in (before, list_source(uri, version=before.version)):
        assert hash_source(listing, _now()) == Identity(digest_of(b"old"), 3)
    fetch_source(list_source(uri, version=before.version), digest_of(b"old"), tmp_path / "input", _now())
    assert _content(tmp_path / "input") == {"flights.csv": b"old"}
    assert hash_source(after, _now()) == Identity(digest_of(b"new!"), 4)
    with pytest.raises(ObjectNotFound):
        hash_source(list_source(uri, version="0" * len(before.version)), _now())


def test_object_without_versions_has_none(store: ObjectStore) -> None:
    store.put("flights.csv", b"1")
    listing = list_source(store.url("flights.csv"))
    assert (listing.version, listing.is_fixed) == (None, False)


def _parquet(rows: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"delay": list(range(rows))}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("objects", "rows"),
    [
        ({"a.parquet": _parquet(3), "month=2/b.parquet": _parquet(4), "_SUCCESS": b""}, 7),
        ({"a.parquet": _parquet(3), "b.csv": b"1\n"}, None),
        ({"a.parquet": b"none"}, None),
        ({"b.csv": b"1\n"}, None),
    ],
)
def test_rows_are_counted_where_all_data_are_parquet(
    store: ObjectStore, objects: dict[str, bytes], rows: int | None
) -> None:
    for path, data in objects.items():
        store.put(f"data/{path}", data)
    assert hash_source(list_source(store.url("data/")), _now()).rows == rows


def test_tables_are_known_by_their_metadata(store: ObjectStore) -> None:
    store.put("delta/a.parquet", _parquet(3))
    store.put("delta/old.parquet", _parquet(9))
    add = {"add": {"path": "a.parquet", "stats": json.dumps({"numRecords": 3})}}
    store.put("delta/_delta_log/00000000000000000000.json", json.dumps(add).encode())
    assert describe_table(list_source(store.url("delta/"))) == Table("0", 3)
    store.put("plain/a.parquet", _parquet(3))
    assert describe_table(list_source(store.url("plain/"))) is None


def test_fetch_replaces_what_an_earlier_attempt_left(store: ObjectStore, tmp_path: Path) -> None:
    store.put("a.csv", b"a")
    (tmp_path / ".partial-input").mkdir()
    (tmp_path / ".partial-input" / "half").write_bytes(b"h")
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "old").write_bytes(b"o")
    _fetch(store.url("a.csv"), digest_of(b"a"), tmp_path / "input")
    assert _content(tmp_path) == {"input/a.csv": b"a"}


@pytest.mark.parametrize("path", ["missing.csv", "missing/", "blobs/sha256/" + "0" * 64])
def test_missing_objects_are_named(store: ObjectStore, path: str) -> None:
    with pytest.raises(ObjectNotFound, match=path):
        list_source(store.url(path))


@pytest.mark.parametrize("path", ["a.csv", "data/", "blobs/sha256/" + "0" * 64])
def test_missing_bucket_is_named(path: str) -> None:
    with pytest.raises(ObjectNotFound, match="bucket does not exist"):
        list_source(f"s3://no-such-bucket/{path}")


def test_missing_bucket_is_named_on_writing() -> None:
    with pytest.raises(ObjectNotFound, match="bucket does not exist"):
        conditional_create_supported(ObjectStore("s3://no-such-bucket/"))


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("path", ["a.csv", "data/", "blobs/sha256/" + "0" * 64])
def test_wrong_keys_are_access_denied(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, variable: str, path: str
) -> None:
    store.put("a.csv", b"a")
    monkeypatch.setenv(variable, "wrong")
    with pytest.raises(AccessDenied, match="modelyard-store"):
        list_source(store.url(path))
    with pytest.raises(AccessDenied, match="modelyard-store"):
        conditional_create_supported(ObjectStore(store.url("")))


def test_endpoint_without_tls_must_be_allowed(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(InvalidSource, match="AWS_ALLOW_HTTP"):
        list_source(store.url("a.csv"))


def test_store_that_is_down_is_unreachable(
    own_s3_server: S3Server, use_store: Callable[[S3Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_store(own_s3_server)
    own_s3_server.stop()
    for path in ("a.csv", "data/", "blobs/sha256/" + "0" * 64):
        with pytest.raises(StoreUnreachable, match="s3://bucket/"):
            list_source(f"s3://bucket/{path}")
    with pytest.raises(StoreUnreachable):
        conditional_create_supported(ObjectStore("s3://bucket/"))


def test_upload_and_fetch_sit_out_an_outage(
    own_s3_server: S3Server, use_store: Callable[[S3Server], None], output: Path, tmp_path: Path
) -> None:
    use_store(own_s3_server)
    own_s3_server.bucket("bucket")
    own_s3_server.stop()
    waits: list[str] = []

    def start_again(message: str) -> None:
        waits.append(message)
        if own_s3_server.process is None:
            own_s3_server.start()

    patience = Patience(60, start_again)
    tree = BlobWriter(ObjectStore("s3://bucket/air/"), patience).upload_tree(output, scan_output(output))
    assert waits
    waits.clear()
    own_s3_server.stop()
    listing = patience.call(lambda: list_source(tree.uri))
    fetch_source(listing, tree.digest, tmp_path / "input", patience)
    assert waits
    assert _content(tmp_path / "input") == _content(output)


def test_messages_hold_no_key(s3_server: S3Server, bucket: str) -> None:
    errors: list[StorageError] = []
    for uri in (f"s3://{bucket}/missing", "s3://no-such-bucket/x"):
        with pytest.raises(StorageError) as caught:
            list_source(uri)
        errors.append(caught.value)
    assert not any(s3_server.secret_key in str(error) or s3_server.access_key in str(error) for error in errors)
