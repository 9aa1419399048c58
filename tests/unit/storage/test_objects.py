from pathlib import Path

import pytest
from obstore import exceptions

from modelyard.storage.errors import AccessDenied, InvalidSource, ObjectNotFound, StorageError, StoreUnreachable
from modelyard.storage.objects import ObjectStore, explain, split_uri


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError("Object at location x not found"), ObjectNotFound),
        (FileNotFoundError("status code: 404 Not Found: <Code>NoSuchBucket</Code>"), ObjectNotFound),
        (FileNotFoundError("status code: 404 Not Found: <Code>XAdminUserNotFound</Code>"), AccessDenied),
        (exceptions.PermissionDeniedError("status code: 403 Forbidden"), AccessDenied),
        (exceptions.GenericError("status code: 403 Forbidden: <Code>AccessDenied</Code>"), AccessDenied),
        (exceptions.GenericError("PUT http://169.254.169.254/latest/api/token - error sending request"), AccessDenied),
        (exceptions.GenericError("status code: 404 Not Found"), ObjectNotFound),
        (exceptions.GenericError("status code: 400 Bad Request: <Code>InvalidBucketName</Code>"), InvalidSource),
        (exceptions.GenericError("HTTP error: builder error"), InvalidSource),
        (exceptions.GenericError("PROPFIND - status code: 501 Not Implemented"), InvalidSource),
        (exceptions.GenericError("status code: 503 Slow Down"), StoreUnreachable),
        (exceptions.GenericError("status code: 429 Too Many Requests"), StoreUnreachable),
        (exceptions.GenericError("HTTP error: error sending request"), StoreUnreachable),
        (TimeoutError("timed out"), StoreUnreachable),
    ],
)
def test_errors_get_the_reason_of_the_contract(error: Exception, expected: type[StorageError]) -> None:
    explained = explain("s3://bucket/key", error)
    assert type(explained) is expected
    assert str(explained).startswith("s3://bucket/key: ")


def test_errors_read_the_same_each_time() -> None:
    """A request id or duration in a message would look like a change to whoever watches."""
    texts = [f"Error performing GET in {n} ms status code: 503: <RequestId>{n}</RequestId>" for n in (1, 2)]
    first, second = (str(explain("s3://b/k", exceptions.GenericError(text))) for text in texts)
    assert first == second


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3://", "s3:///key", "bucket/key", "s3://b/a/../c", "s3://b/a?x=1"])
def test_store_refuses_uris_it_cannot_use(uri: str) -> None:
    with pytest.raises(InvalidSource):
        ObjectStore(uri)


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "file:///"])
def test_split_refuses_uris_without_an_object(uri: str) -> None:
    with pytest.raises(InvalidSource):
        split_uri(uri)


def test_split_separates_folder_and_name() -> None:
    assert split_uri("s3://bucket/a/b.csv") == ("s3://bucket/a/", "b.csv")
    assert split_uri("s3://bucket/b.csv") == ("s3://bucket/", "b.csv")


def test_file_uris_reach_no_other_folder_than_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`file:///proc/self/environ` would hand the store's credentials to user code."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store-else").mkdir()
    (tmp_path / "store" / "out").symlink_to("/proc")
    with pytest.raises(InvalidSource, match="MODELYARD_STORE_URI"):
        ObjectStore("file:///proc/self/")
    monkeypatch.setenv("MODELYARD_STORE_URI", f"file://{tmp_path}/store/")
    ObjectStore(f"file://{tmp_path}/store/").put("a/b", b"x")
    assert b"".join(ObjectStore(f"file://{tmp_path}/store/a/").get("b")) == b"x"
    for uri in ("file:///proc/self/", f"file://{tmp_path}/store-else/", f"file://{tmp_path}/store/out/self/"):
        with pytest.raises(InvalidSource, match="MODELYARD_STORE_URI"):
            ObjectStore(uri)
    monkeypatch.setenv("MODELYARD_STORE_URI", "file:///")
    with pytest.raises(InvalidSource):
        ObjectStore("file:///proc/self/")
