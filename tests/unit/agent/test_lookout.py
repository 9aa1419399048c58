import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.agent.lookout import READS, Lookout
from modelyard.agent.sightings import SeenInput
from modelyard.storage.blobs import BlobWriter, PublishedTree
from modelyard.storage.errors import AccessDenied, InputChanging, InvalidSource, ObjectNotFound, StoreUnreachable
from modelyard.storage.manifests import FileEntry, Manifest, digest_of
from modelyard.storage.objects import ObjectInfo
from modelyard.storage.retry import Patience
from modelyard.storage.trees import scan_output
from tests.support.stores import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def lookout(store: MemoryStore) -> Lookout:
    return Lookout("s3://memory/", lambda _: store)


@pytest.fixture
def tree(store: MemoryStore, tmp_path: Path) -> PublishedTree:
    (tmp_path / "a").write_bytes(b"content")
    return BlobWriter(store, Patience(0, print)).upload_tree(tmp_path, scan_output(tmp_path))


def _identify(lookout: Lookout, uri: str) -> SeenInput:
    listing = lookout.list_input(uri)
    return lookout.known(listing) or lookout.read(listing)


def test_input_is_read_again_only_after_it_was_written_again(
    store: MemoryStore, lookout: Lookout, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.objects["flights.csv"] = b"1"
    info = store.head("flights.csv")
    monkeypatch.setattr(store, "head", lambda _: info)
    assert _identify(lookout, "s3://memory/flights.csv").digest == digest_of(b"1")
    store.objects["flights.csv"] = b"2"
    assert _identify(lookout, "s3://memory/flights.csv").digest == digest_of(b"1")
    store.versions["flights.csv", "version-2"] = b"2"
    changed = ObjectInfo(info.path, info.size, "other", "version-2", info.last_modified)
    monkeypatch.setattr(store, "head", lambda _: changed)
    seen = _identify(lookout, "s3://memory/flights.csv")
    assert (seen.digest, seen.bytes, seen.version) == (digest_of(b"2"), 1, "version-2")


def test_what_an_earlier_agent_read_is_not_read_again(store: MemoryStore, lookout: Lookout) -> None:
    store.objects["data/a.csv"] = b"1"
    store.frozen = True
    listing = lookout.list_input("s3://memory/data/")
    before = SeenInput("sha256:before", 1, "v", 3, listing.fingerprint)
    lookout.remember("s3://memory/data/", before)
    assert lookout.known(listing) == before
    store.objects["data/b.csv"] = b"2"
    assert lookout.known(lookout.list_input("s3://memory/data/")) is None


class _Writer:
    """Writes to a store while it is read."""

    def __init__(self, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, writes: list[dict[str, bytes]]) -> None:
        self.store, self.writes, self.get = store, writes, store.get
        store.frozen = True
        monkeypatch.setattr(store, "get", self.read)

    def read(self, path: str, version: str | None = None) -> Iterator[bytes]:
        if self.writes:
            self.store.objects = self.writes.pop(0)
        return self.get(path, version)


def test_input_that_is_written_while_it_is_read_is_read_again(
    store: MemoryStore, lookout: Lookout, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.objects = {"a": b"old", "b": b"old"}
    after = {"a": b"new-a", "b": b"new-b"}
    _Writer(store, monkeypatch, [store.objects, after])
    expected = Manifest.of(FileEntry(path, digest_of(data)[7:], len(data)) for path, data in after.items())
    assert _identify(lookout, "s3://memory/").digest == expected.digest


def test_input_that_loses_an_object_while_it_is_read_is_read_again(
    store: MemoryStore, lookout: Lookout, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.objects = {"a": b"old", "b": b"old"}
    _Writer(store, monkeypatch, [{"c": b"new"}])
    assert _identify(lookout, "s3://memory/").bytes == 3


def test_input_that_does_not_come_to_rest_has_no_digest(
    store: MemoryStore, lookout: Lookout, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.objects = {"a": b"0"}
    _Writer(store, monkeypatch, [{"a": b"x" * number} for number in range(2, 2 + 2 * READS)])
    with pytest.raises(InputChanging, match="s3://memory/"):
        _identify(lookout, "s3://memory/")


def test_table_tells_its_version_and_rows(store: MemoryStore, lookout: Lookout) -> None:
    store.frozen = True
    add = {"add": {"path": "a.parquet", "stats": json.dumps({"numRecords": 12})}}
    store.objects = {"a.parquet": b"x", "_delta_log/00000000000000000000.json": json.dumps(add).encode()}
    seen = _identify(lookout, "s3://memory/")
    assert (seen.version, seen.rows) == ("0", 12)


def test_digest_of_a_tree_is_known_from_its_manifest(store: MemoryStore, lookout: Lookout, tree: PublishedTree) -> None:
    del store.objects[f"blobs/sha256/{digest_of(b'content').removeprefix('sha256:')}"]
    seen = _identify(lookout, tree.uri)
    assert (seen.digest, seen.bytes) == (tree.digest, 7)


def test_verify_tells_the_states_apart(store: MemoryStore, lookout: Lookout, tree: PublishedTree) -> None:
    blob = f"blobs/sha256/{digest_of(b'content').removeprefix('sha256:')}"
    assert lookout.verify(tree.uri, tree.digest) == ("Verified", "")
    assert lookout.verify(tree.uri, digest_of(b"other"))[0] == "Corrupt"
    store.objects[blob] = b"c0ntent"
    assert lookout.verify(tree.uri, tree.digest)[0] == "Corrupt"
    store.outages = 1
    assert lookout.verify(tree.uri, tree.digest)[0] == "Unreachable"
    del store.objects[blob]
    assert lookout.verify(tree.uri, tree.digest)[0] == "Missing"


def test_verify_calls_a_manifest_that_breaks_the_rules_corrupt(store: MemoryStore, lookout: Lookout) -> None:
    hostile = Manifest((FileEntry("../x", "a" * 64, 1),))
    key = f"blobs/sha256/{hostile.digest.removeprefix('sha256:')}"
    store.objects[key] = hostile.to_json()
    assert lookout.verify(f"s3://memory/{key}", hostile.digest)[0] == "Corrupt"


def test_verify_does_not_call_bytes_corrupt_that_it_cannot_reach() -> None:
    def refuse(uri: str) -> MemoryStore:
        raise InvalidSource(uri)

    assert Lookout("s3://memory/", refuse).verify("s3://other/x", digest_of(b""))[0] == "Unreachable"


def test_output_is_looked_for_without_reading_its_files(
    store: MemoryStore, lookout: Lookout, tree: PublishedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = f"blobs/sha256/{digest_of(b'content').removeprefix('sha256:')}"
    read: list[str] = []
    whole = store.get
    monkeypatch.setattr(store, "get", lambda path: (read.append(path), whole(path))[1])
    assert lookout.look_for(tree.uri) == ("Present", "")
    assert blob not in read
    store.objects[blob] = b"cut"
    state, message = lookout.look_for(tree.uri)
    assert (state, "'a' must have 7 bytes, has 3" in message) == ("Missing", True)
    del store.objects[blob]
    assert lookout.look_for(tree.uri)[0] == "Missing"
    store.outages = 1
    assert lookout.look_for(tree.uri)[0] == "Unreachable"
    store.objects.clear()
    assert lookout.look_for(tree.uri)[0] == "Missing"


def test_output_in_pieces_is_looked_for_piece_by_piece(store: MemoryStore, lookout: Lookout, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "empty").write_bytes(b"")
    writer = BlobWriter(store, Patience(0, print), piece_bytes=3)
    tree = writer.upload_tree(tmp_path, scan_output(tmp_path))
    assert lookout.look_for(tree.uri) == ("Present", "")
    last = f"blobs/sha256/{digest_of(b'content').removeprefix('sha256:')}.00002"
    assert store.objects.pop(last) == b"t"
    assert lookout.look_for(tree.uri)[0] == "Missing"


def test_result_is_found_and_cut_to_a_termination_message(store: MemoryStore, lookout: Lookout) -> None:
    assert lookout.result("uid", "train", 2) is None
    metrics = [{"name": f"m{number}", "value": "1"} for number in range(500)]
    store.objects["runs/uid/train/2/result.json"] = json.dumps({"outputs": [], "metrics": metrics}).encode()
    result = lookout.result("uid", "train", 2)
    assert result is not None
    assert json.loads(result) == {"outputs": [], "metrics": metrics[:16]}


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"outputs": "' + b"x" * 5000 + b'"}'])
def test_result_that_is_none_is_refused(store: MemoryStore, lookout: Lookout, data: bytes) -> None:
    store.objects["runs/uid/train/2/result.json"] = data
    with pytest.raises(InvalidSource, match=r"result\.json"):
        lookout.result("uid", "train", 2)


@pytest.mark.parametrize(
    ("error", "refused"), [(AccessDenied, True), (StoreUnreachable, False), (ObjectNotFound, False)]
)
def test_only_a_refusal_is_taken_for_wrong_credentials(
    store: MemoryStore, lookout: Lookout, monkeypatch: pytest.MonkeyPatch, error: type[Exception], *, refused: bool
) -> None:
    def fail(_: str) -> ObjectInfo:
        raise error("x")

    monkeypatch.setattr(store, "head", fail)
    assert lookout.refuses_us() is refused


def test_progress_is_what_the_step_says(store: MemoryStore, lookout: Lookout) -> None:
    assert lookout.progress("uid", "train", 1) is None
    said = {"percentage": 42, "metrics": [{"name": "loss", "value": "0.5"}], "time": "2026-01-01T00:00:00Z"}
    store.objects["runs/uid/train/1/progress.json"] = json.dumps(said).encode()
    assert lookout.progress("uid", "train", 1) == {
        "percentage": 42,
        "metrics": [{"name": "loss", "value": "0.5"}],
        "lastUpdateTime": "2026-01-01T00:00:00Z",
        "step": "train",
        "attempt": 1,
    }


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b'{"time": "t", "percentage": 101}', b"x" * 5000])
def test_progress_that_is_none_is_refused(store: MemoryStore, lookout: Lookout, junk: bytes) -> None:
    store.objects["runs/uid/train/1/progress.json"] = junk
    with pytest.raises(InvalidSource, match="progress"):
        lookout.progress("uid", "train", 1)
