import json
from pathlib import Path

import pytest

from modelyard.agent.lookout import Lookout
from modelyard.storage.blobs import BlobWriter, PublishedTree
from modelyard.storage.errors import AccessDenied, InvalidSource, ObjectNotFound, StoreUnreachable
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


def test_input_is_read_again_only_after_it_was_written_again(
    store: MemoryStore, lookout: Lookout, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.objects["flights.csv"] = b"1"
    info = store.head("flights.csv")
    monkeypatch.setattr(store, "head", lambda _: info)
    assert lookout.identify("s3://memory/flights.csv").digest == digest_of(b"1")
    store.objects["flights.csv"] = b"2"
    assert lookout.identify("s3://memory/flights.csv").digest == digest_of(b"1")
    changed = ObjectInfo(info.path, info.size, "other", "version-2", info.last_modified)
    monkeypatch.setattr(store, "head", lambda _: changed)
    seen = lookout.identify("s3://memory/flights.csv")
    assert (seen.digest, seen.bytes, seen.version) == (digest_of(b"2"), 1, "version-2")


def test_digest_of_a_tree_is_known_from_its_manifest(store: MemoryStore, lookout: Lookout, tree: PublishedTree) -> None:
    del store.objects[f"blobs/sha256/{digest_of(b'content').removeprefix('sha256:')}"]
    seen = lookout.identify(tree.uri)
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
