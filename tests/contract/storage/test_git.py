"""Git sources against a real git server."""

import hashlib
from pathlib import Path

import pytest

from modelyard.storage import git
from modelyard.storage.errors import (
    AccessDenied,
    DigestMismatch,
    InvalidSource,
    ObjectNotFound,
    RefNotFound,
    StoreUnreachable,
)
from modelyard.storage.manifests import FileEntry, Manifest
from modelyard.storage.retry import Patience
from modelyard.storage.sources import Identity, fetch_source, hash_source, list_source
from tests.support.git import GitServer, Repository

FILES = {"train.py": b"print('train')\n", "lib/a.py": b"A = 1\n", "lib/empty": b""}


@pytest.fixture
def repository(git_server: GitServer) -> Repository:
    return git_server.repository("code")


def _now() -> Patience:
    return Patience(0, print)


def _manifest(files: dict[str, bytes]) -> Manifest:
    return Manifest.of(FileEntry(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items())


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_branch_is_the_tree_of_its_commit(repository: Repository, tmp_path: Path) -> None:
    commit, manifest = repository.commit(FILES), _manifest(FILES)
    listing = list_source(f"{repository.uri}@main")
    assert listing.version == commit
    identity = hash_source(listing, _now())
    assert identity == Identity(manifest.digest, manifest.total_bytes)
    fetch_source(listing, manifest.digest, tmp_path / "input", _now())
    assert _content(tmp_path / "input") == FILES


def test_same_files_in_another_commit_have_the_same_digest(repository: Repository) -> None:
    repository.commit(FILES)
    before = list_source(f"{repository.uri}@main")
    repository.push()
    after = list_source(f"{repository.uri}@main")
    assert before.version != after.version
    assert before.fingerprint != after.fingerprint
    assert hash_source(before, _now()) == hash_source(after, _now())


def test_history_is_not_fetched(repository: Repository, git_server: GitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit({"big": bytes(range(256)) * 4096})
    repository.git("rm", "--quiet", "big")
    repository.commit(FILES)
    monkeypatch.setattr(git, "MAX_PACK_BYTES", 20_000)
    assert hash_source(list_source(f"{repository.uri}@main"), _now()).digest == _manifest(FILES).digest


def test_tags_commits_and_branches_with_slashes_are_refs(repository: Repository) -> None:
    first = repository.commit(FILES)
    repository.git("tag", "light")
    repository.git("tag", "--annotate", "v1.0", "--message=one")
    repository.git("push", "--quiet", "--tags", "origin")
    second = repository.commit({"b": b"2"}, branch="feature/x")
    found = {
        ref: list_source(f"{repository.uri}@{ref}").version for ref in ("light", "v1.0", "feature/x", "main", first)
    }
    assert found == {"light": first, "v1.0": first, "feature/x": second, "main": first, first: first}
    assert list_source(f"{repository.uri}@refs/heads/feature/x").version == second
    assert hash_source(list_source(f"{repository.uri}@v1.0"), _now()).digest == _manifest(FILES).digest


def test_version_that_was_seen_is_fetched_after_the_branch_has_moved(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(FILES)
    repository.commit({"train.py": b"changed"})
    listing = list_source(f"{repository.uri}@main", version=commit)
    fetch_source(listing, _manifest(FILES).digest, tmp_path / "input", _now())
    assert _content(tmp_path / "input") == FILES
    with pytest.raises(DigestMismatch):
        fetch_source(list_source(f"{repository.uri}@main"), _manifest(FILES).digest, tmp_path / "input", _now())


def test_commit_without_files_is_a_tree_without_files(repository: Repository) -> None:
    repository.push()
    assert hash_source(list_source(f"{repository.uri}@main"), _now()) == Identity(_manifest({}).digest, 0)


@pytest.mark.parametrize("ref", ["gone", "refs/heads/gone", "ma"])
def test_missing_ref_is_named(repository: Repository, ref: str) -> None:
    repository.commit(FILES)
    with pytest.raises(RefNotFound, match=f"'{ref}'"):
        list_source(f"{repository.uri}@{ref}")


def test_missing_commit_is_a_missing_ref(repository: Repository) -> None:
    repository.commit(FILES)
    with pytest.raises(RefNotFound, match="commit"):
        hash_source(list_source(f"{repository.uri}@{'0123456789' * 4}"), _now())


def test_missing_repository_is_not_found(repository: Repository) -> None:
    with pytest.raises(ObjectNotFound, match="no such repository"):
        list_source(repository.uri.replace("code", "other") + "@main")


def test_links_and_submodules_are_refused(repository: Repository) -> None:
    repository.commit(FILES)
    (repository.clone / "lib" / "secret").symlink_to("/etc/passwd")
    repository.push()
    with pytest.raises(InvalidSource, match="'lib/secret' is a link"):
        hash_source(list_source(f"{repository.uri}@main"), _now())
    repository.git("rm", "--quiet", "lib/secret")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    repository.git("commit", "--quiet", "--message=sub")
    repository.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    with pytest.raises(InvalidSource, match="'sub' is a submodule"):
        hash_source(list_source(f"{repository.uri}@main"), _now())


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_FILES", 2, "at most 2 files"),
        ("MAX_PACK_BYTES", 100, "more than is read"),
        ("MAX_TOTAL_BYTES", 10, "at most 10 bytes"),
        ("MAX_DEPTH", 0, "nested at most 0"),
    ],
)
def test_sizes_are_bounded(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    repository.commit(FILES)
    monkeypatch.setattr(git, limit, value)
    with pytest.raises(InvalidSource, match=message):
        hash_source(list_source(f"{repository.uri}@main"), _now())


def test_file_that_is_small_only_in_the_pack_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"bomb": bytes(8 * 1024 * 1024)})
    monkeypatch.setattr(git, "_LIMITS", git.PackLimits(objects=10, object_bytes=1024 * 1024))
    with pytest.raises(InvalidSource, match="has a file of 8388608 bytes"):
        hash_source(list_source(f"{repository.uri}@main"), _now())


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((301, {"Location": "https://elsewhere.example/x"}), InvalidSource, "redirects are not followed"),
        ((401, {}), AccessDenied, "only public"),
        ((403, {}), AccessDenied, "only public"),
        ((503, {}), StoreUnreachable, "unwell"),
        ((429, {}), StoreUnreachable, "unwell"),
        ((200, {"Content-Type": "text/html"}), InvalidSource, "no git repository"),
        ((200, {"Content-Type": "application/x-git-upload-pack-advertisement"}), StoreUnreachable, "does not answer"),
    ],
)
def test_other_answers_are_explained(
    repository: Repository,
    git_server: GitServer,
    answer: tuple[int, dict[str, str]],
    error: type[Exception],
    message: str,
) -> None:
    git_server.answer = answer
    with pytest.raises(error, match=message):
        list_source(f"{repository.uri}@main")
    assert len(git_server.requests) == 1


def test_server_that_is_not_trusted_is_not_spoken_to(
    repository: Repository, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(StoreUnreachable, match="SSLError"):
        list_source(f"{repository.uri}@main")
    assert git_server.requests == []


@pytest.mark.parametrize(
    "uri",
    [
        "git+http://host/code.git@main",
        "git+ssh://host/code.git@main",
        "git+file:///code.git@main",
        "git+https://user:password@host/code.git@main",
        "git+https://host/code.git",
        "git+https://host@main",
        "git+https://host/code.git@-x",
        "git+https://host/code.git?x@main",
    ],
)
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(InvalidSource, match="must be git"):
        list_source(uri)
