"""The inputs of Pipelines, polled by the agent between a real API server, a real S3 server and a real git server."""

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from modelyard.agent import watcher
from modelyard.agent.subjects import Pipeline, read_pipeline
from modelyard.storage.manifests import FileEntry, Manifest
from modelyard.storage.objects import ObjectStore
from tests.cluster.agent.site import WAIT_SECONDS, Site
from tests.support.eventually import eventually
from tests.support.git import GitServer
from tests.support.s3_proxy import S3Proxy

pytestmark = pytest.mark.cluster
POLL_SECONDS = 1.0


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The definition allows 10 s at least; here they are short."""

    def read(manifest: dict[str, Any]) -> Pipeline | None:
        pipeline = read_pipeline(manifest)
        return replace(pipeline, poll_seconds=POLL_SECONDS) if pipeline else None

    monkeypatch.setattr(watcher, "read_pipeline", read)


def _digest(**files: bytes) -> str:
    return Manifest.of(
        FileEntry(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items()
    ).digest


def _reason(spec: dict[str, Any]) -> str:
    reason: str = spec["inputs"][0]["error"]["reason"]
    return reason


async def _rounds(proxy: S3Proxy, prefix: str, number: int) -> None:
    """Wait until a prefix has been listed so many times more."""
    start = proxy.lists(prefix)
    await eventually(lambda: proxy.lists(prefix) >= start + number, seconds=WAIT_SECONDS)


async def test_changed_input_is_seen_within_the_interval_and_unchanged_ones_cost_a_listing(
    site: Site, s3_proxy: S3Proxy
) -> None:
    store = ObjectStore(f"{site.uri}flights/")
    store.put("2013-01.csv", b"1\n")
    site.make_pipeline("flights", f"{site.uri}flights/")
    async with site.agent():
        seen = await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["digest"])
        (found,) = seen["spec"]["inputs"]
        assert found["digest"] == _digest(**{"2013-01.csv": b"1\n"})
        assert (found["uri"], found["bytes"]) == (f"{site.uri}flights/", 2)
        assert seen["metadata"]["ownerReferences"][0]["kind"] == "Pipeline"
        await _rounds(s3_proxy, "flights/", 3)
        assert s3_proxy.reads("flights/2013-01.csv") == 1
        assert site.observation("pipeline-flights") == seen
        assert site.writes("Pipeline") == 1
        await asyncio.to_thread(store.put, "2013-02.csv", b"22\n")
        changed = asyncio.get_running_loop().time()
        after = _digest(**{"2013-01.csv": b"1\n", "2013-02.csv": b"22\n"})
        await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["digest"] == after)
        assert asyncio.get_running_loop().time() - changed < POLL_SECONDS + 5


async def test_pipelines_that_watch_the_same_prefix_share_its_listings(site: Site, s3_proxy: S3Proxy) -> None:
    ObjectStore(f"{site.uri}flights/").put("2013-01.csv", b"1\n")
    names = [f"flights-{number}" for number in range(20)]
    for name in names:
        site.make_pipeline(name, f"{site.uri}flights/")
    async with site.agent():
        for name in names:
            await site.sees(f"pipeline-{name}", lambda spec: spec["inputs"][0]["digest"])
        start, lists = asyncio.get_running_loop().time(), s3_proxy.lists("flights/")
        await _rounds(s3_proxy, "flights/", 4)
        intervals = (asyncio.get_running_loop().time() - start) / POLL_SECONDS
        assert s3_proxy.lists("flights/") - lists <= intervals / 0.9 + 1
        assert s3_proxy.reads("flights/2013-01.csv") == 1


async def test_outage_is_no_change_and_no_storm(site: Site, s3_proxy: S3Proxy) -> None:
    digests = {}
    for number in range(10):
        ObjectStore(f"{site.uri}data-{number}/").put("a.csv", b"1")
        site.make_pipeline(f"p-{number}", f"{site.uri}data-{number}/")
        digests[f"p-{number}"] = _digest(**{"a.csv": b"1"})
    async with site.agent():
        for name, digest in digests.items():
            await site.sees(f"pipeline-{name}", lambda spec, digest=digest: spec["inputs"][0]["digest"] == digest)
        s3_proxy.is_down, before = True, len(s3_proxy.requests)
        for name in digests:
            await site.sees(f"pipeline-{name}", lambda spec: _reason(spec) == "StoreUnreachable")
        writes = site.writes("Pipeline")
        await asyncio.sleep(5)
        # Each of the few who asked tried four times; undisturbed, there would have been 10 listings a second.
        assert len(s3_proxy.requests) - before <= 60
        assert site.writes("Pipeline") == writes
        for name, digest in digests.items():
            (found,) = site.observation(f"pipeline-{name}")["spec"]["inputs"]
            assert (found["digest"], found["bytes"]) == (digest, 1)
        s3_proxy.is_down = False
        for name, digest in digests.items():
            seen = await site.sees(f"pipeline-{name}", lambda spec: "error" not in spec["inputs"][0])
            assert seen["spec"]["inputs"][0]["digest"] == digest
        await _rounds(s3_proxy, "data-0/", 2)
        assert all(s3_proxy.reads(f"data-{number}/a.csv") == 1 for number in range(10))


async def test_next_agent_reads_and_writes_nothing_that_the_last_one_knew(site: Site, s3_proxy: S3Proxy) -> None:
    ObjectStore(f"{site.uri}flights/").put("2013-01.csv", b"1\n")
    site.make_pipeline("flights", f"{site.uri}flights/")
    async with site.agent():
        before = await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["digest"])
    async with site.agent():
        await _rounds(s3_proxy, "flights/", 2)
        assert s3_proxy.reads("flights/2013-01.csv") == 1
        assert site.observation("pipeline-flights") == before


async def test_digest_of_one_uri_is_never_said_of_another(site: Site, s3_proxy: S3Proxy) -> None:
    ObjectStore(f"{site.uri}flights/").put("a.csv", b"1")
    site.make_pipeline("flights", f"{site.uri}flights/")
    async with site.agent():
        await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["digest"])
        site.make_pipeline("flights", f"{site.uri}weather/")
        seen = await site.sees("pipeline-flights", lambda spec: _reason(spec) == "InputNotFound")
        (found,) = seen["spec"]["inputs"]
        assert found["uri"] == f"{site.uri}weather/"
        assert "digest" not in found
    assert s3_proxy.lists("weather/") >= 1


async def test_suspended_and_deleted_pipelines_are_not_polled(site: Site, s3_proxy: S3Proxy) -> None:
    ObjectStore(f"{site.uri}flights/").put("a.csv", b"1")
    site.make_pipeline("flights", f"{site.uri}flights/")
    site.make_pipeline("other", f"{site.uri}flights/")
    async with site.agent():
        await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["digest"])
        await site.sees("pipeline-other", lambda spec: spec["inputs"][0]["digest"])
        site.kubectl("delete", "pipeline", "other")
        site.make_pipeline("flights", f"{site.uri}flights/", suspend=True)
        await eventually(
            lambda: site.metrics.registry.get_sample_value("modelyard_agent_subjects") == 0, seconds=WAIT_SECONDS
        )
        lists = s3_proxy.lists("flights/")
        await asyncio.sleep(2.5 * POLL_SECONDS)
        assert s3_proxy.lists("flights/") == lists
        ObjectStore(f"{site.uri}flights/").put("a.csv", b"22")
        site.make_pipeline("flights", f"{site.uri}flights/", suspend=False)
        await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["bytes"] == 2)


async def test_commit_is_seen_and_a_lost_branch_is_no_change(site: Site, git_server: GitServer) -> None:
    repository = await asyncio.to_thread(git_server.repository, "code")
    first = await asyncio.to_thread(repository.commit, {"train.py": b"1"})
    site.make_pipeline("flights", f"{repository.uri}@main")
    async with site.agent():
        seen = await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["version"] == first)
        assert seen["spec"]["inputs"][0]["digest"] == _digest(**{"train.py": b"1"})
        second = await asyncio.to_thread(repository.commit, {"train.py": b"22"})
        await site.sees("pipeline-flights", lambda spec: spec["inputs"][0]["version"] == second)
        await asyncio.to_thread(repository.git, "push", "--quiet", "origin", "HEAD:refs/heads/other")
        await asyncio.to_thread(repository.git, "update-ref", "-d", "refs/heads/main", folder=repository.bare)
        seen = await site.sees("pipeline-flights", lambda spec: _reason(spec) == "RefNotFound")
        assert seen["spec"]["inputs"][0]["digest"] == _digest(**{"train.py": b"22"})


async def test_missing_secret_is_told(site: Site) -> None:
    site.make_pipeline("flights", f"{site.uri}flights/")
    async with site.agent(store_uri=None):
        seen = await site.sees("pipeline-flights", lambda spec: _reason(spec) == "SecretMissing")
        assert json.dumps(seen["spec"]["inputs"]).count("modelyard-store") == 1
