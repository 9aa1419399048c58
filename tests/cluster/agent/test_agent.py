"""The agent between a real API server and a real S3 server."""

import asyncio
import hashlib
import json
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from modelyard.agent import watcher
from modelyard.storage.blobs import BlobWriter, PublishedTree
from modelyard.storage.manifests import digest_of
from modelyard.storage.objects import ObjectStore
from modelyard.storage.retry import Patience
from modelyard.storage.sources import Identity
from modelyard.storage.trees import scan_output
from tests.cluster.agent.site import WAIT_SECONDS, Site
from tests.support.controlplane import ClusterAccess
from tests.support.s3 import S3Server

pytestmark = pytest.mark.cluster


@pytest.fixture
def tree(site: Site, tmp_path: Path) -> PublishedTree:
    (tmp_path / "model.onnx").write_bytes(b"model")
    return BlobWriter(ObjectStore(site.uri), Patience(0, print)).upload_tree(tmp_path, scan_output(tmp_path))


def _error(spec: dict[str, Any], index: int = 0) -> str:
    reason: str = spec["inputs"][index]["error"]["reason"]
    return reason


async def test_inputs_are_observed_and_recover_when_the_cause_goes(site: Site) -> None:
    store = ObjectStore(site.uri)
    store.put("flights.csv", b"1,2\n")
    site.make_run("run", f"{site.uri}flights.csv", f"{site.uri}weather/")
    async with site.agent():
        seen = await site.sees("trainingrun-run", lambda spec: _error(spec, 1) == "InputNotFound")
        flights, weather = seen["spec"]["inputs"]
        assert flights == {"name": "input-0", "digest": digest_of(b"1,2\n"), "bytes": 4}
        assert "weather/" in weather["error"]["message"]
        (owner,) = seen["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("TrainingRun", "run")
        assert "blockOwnerDeletion" not in owner
        assert {entry["manager"] for entry in seen["metadata"]["managedFields"]} == {"modelyard-agent"}
        store.put("weather/2013.csv", b"rain\n")
        seen = await site.sees("trainingrun-run", lambda spec: spec["inputs"][1]["digest"])
        assert seen["spec"]["inputs"][0] == flights


async def test_nothing_is_written_while_nothing_changes(site: Site, tree: PublishedTree) -> None:
    site.make_run("run", f"{site.uri}missing.csv")
    site.make_version("flight-delay-v1", tree.uri, tree.digest)
    async with site.agent():
        before = await site.sees("trainingrun-run", lambda spec: _error(spec) == "InputNotFound")
        verified = await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Verified")
        await site.looks("input", 3)
        await site.looks("artifact", 3)
        assert site.observation("trainingrun-run") == before
        assert site.observation("modelversion-flight-delay-v1") == verified
        assert (site.writes("TrainingRun"), site.writes("ModelVersion")) == (1, 1)
    async with site.agent():
        await site.looks("input", 2)
        await site.looks("artifact", 2)
        assert site.observation("trainingrun-run") == before
        assert site.observation("modelversion-flight-delay-v1") == verified


async def test_progress_of_a_running_step_is_observed_when_it_changes(site: Site) -> None:
    store = ObjectStore(site.uri)
    step = {"name": "train", "image": "i", "progress": "Live"}
    site.create("TrainingRun", "run", {"model": "flight-delay", "steps": [step]})
    running = {"name": "train", "state": "Running", "attempt": 2, "jobName": "run-train-2"}
    site.set_status("run", {"steps": [running]})
    uid = site.kubectl("get", "trainingrun", "run", "--output=jsonpath={.metadata.uid}")

    def say(percentage: int) -> None:
        said = {"percentage": percentage, "metrics": [], "time": "2026-01-01T00:00:00Z"}
        store.put(f"runs/{uid}/train/2/progress.json", json.dumps(said).encode())

    async with site.agent(progress_seconds=0.2):
        await site.looks("progress", 1)
        say(42)
        await site.sees("trainingrun-run", lambda spec: spec["progress"]["percentage"] == 42)
        await site.looks("progress", 3)
        assert site.writes("TrainingRun") == 1
        assert 'modelyard_step_progress_ratio{run="run",step="train"} 0.42' in (await site.get("/metrics"))[1]
        say(43)
        seen = await site.sees("trainingrun-run", lambda spec: spec["progress"]["percentage"] == 43)
        assert (seen["spec"]["progress"]["step"], seen["spec"]["progress"]["attempt"]) == ("train", 2)
        site.set_status("run", {"steps": [{**running, "state": "Succeeded"}]})
        await site.sees("trainingrun-run", lambda spec: "progress" not in spec)
        assert "modelyard_step_progress_ratio{" not in (await site.get("/metrics"))[1]


async def test_changed_input_is_seen_until_the_run_has_recorded_it(site: Site) -> None:
    store = ObjectStore(site.uri)
    store.put("flights.csv", b"1\n")
    site.make_run("run", f"{site.uri}flights.csv")
    async with site.agent(input_seconds=0.2):
        await site.sees("trainingrun-run", lambda spec: spec["inputs"][0]["digest"] == digest_of(b"1\n"))
        store.put("flights.csv", b"22\n")
        await site.sees("trainingrun-run", lambda spec: spec["inputs"][0]["digest"] == digest_of(b"22\n"))
        recorded = {"name": "input-0", "uri": f"{site.uri}flights.csv", "digest": digest_of(b"22\n")}
        running = {"name": "train", "state": "Running", "attempt": 1, "jobName": "run-train-1"}
        site.set_status("run", {"inputs": [recorded], "steps": [running]})
        await site.looks("result", 1)
        store.put("flights.csv", b"333\n")
        await site.looks("result", 3)
        assert site.observation("trainingrun-run")["spec"]["inputs"][0]["digest"] == digest_of(b"22\n")


async def test_result_of_a_running_step_is_found(site: Site) -> None:
    site.make_run()
    uid = site.kubectl("get", "trainingrun", "run", "--output=jsonpath={.metadata.uid}")
    running = {"name": "train", "state": "Running", "attempt": 2, "jobName": "run-train-2"}
    site.set_status("run", {"steps": [running]})
    async with site.agent():
        await site.looks("result", 1)
        assert site.observation("trainingrun-run") == {}
        result = {"outputs": [], "metrics": [{"name": "rocAuc", "value": "0.7"}]}
        ObjectStore(site.uri).put(f"runs/{uid}/train/2/result.json", json.dumps(result).encode())
        seen = await site.sees("trainingrun-run", lambda spec: spec["results"])
        (found,) = seen["spec"]["results"]
        assert (found["step"], found["attempt"], json.loads(found["result"])) == ("train", 2, result)


async def test_outputs_that_may_be_taken_over_are_looked_for(site: Site, tree: PublishedTree) -> None:
    site.make_run()
    gone = f"{site.uri}blobs/sha256/{'0' * 64}"
    digests = {tree.uri: tree.digest, gone: f"sha256:{'0' * 64}"}
    outputs = [
        {"name": f"output-{index}", "uri": uri, "digest": digest, "bytes": 5}
        for index, (uri, digest) in enumerate(digests.items())
    ]
    candidate = {"trainingRun": "earlier", "time": "2026-01-01T00:00:00Z", "outputs": outputs}
    site.set_status("run", {"steps": [{"name": "train", "state": "Waiting", "candidate": candidate}]})
    async with site.agent():
        seen = await site.sees("trainingrun-run", lambda spec: len(spec["outputs"]) == 2)
        states = {output["uri"]: output["state"] for output in seen["spec"]["outputs"]}
        assert states == {tree.uri: "Present", gone: "Missing"}
        running = {"name": "test", "state": "Running", "attempt": 1, "jobName": "run-test-1"}
        site.set_status("run", {"steps": [{"name": "train", "state": "Cached"}, running]})
        await site.looks("result", 2)
        assert site.observation("trainingrun-run") == seen
        assert site.writes("TrainingRun") == 1


async def test_tampered_artifact_is_seen_and_so_is_its_repair(site: Site, tree: PublishedTree) -> None:
    site.make_version("flight-delay-v1", tree.uri, tree.digest)
    blob = site.folder / "blobs" / "sha256" / hashlib.sha256(b"model").hexdigest()
    async with site.agent():
        await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Verified")
        blob.write_bytes(b"m0del")
        seen = await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Corrupt")
        assert "model.onnx" in seen["spec"]["artifact"]["message"]
        blob.unlink()
        await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Missing")
        blob.write_bytes(b"model")
        await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Verified")


async def test_store_that_is_down_is_unreachable_until_it_is_back(
    definitions: ClusterAccess, namespace: str, own_s3_server: S3Server, use_store: Callable[[S3Server], None]
) -> None:
    use_store(own_s3_server)
    own_s3_server.bucket("bucket")
    site = Site(definitions, namespace, own_s3_server, "bucket")
    ObjectStore(site.uri).put("flights.csv", b"1\n")
    site.make_run("run", f"{site.uri}flights.csv")
    site.make_version("flight-delay-v1", f"{site.uri}missing/", digest_of(b""))
    own_s3_server.stop()
    async with site.agent():
        await site.sees("trainingrun-run", lambda spec: _error(spec) == "StoreUnreachable")
        await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Unreachable")
        own_s3_server.start()
        await site.sees("trainingrun-run", lambda spec: spec["inputs"][0]["digest"])
        await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Missing")


async def test_missing_secret_is_an_observation_and_the_agent_ends_to_look_for_it_again(
    site: Site, tree: PublishedTree
) -> None:
    site.make_run("run", f"{site.uri}flights.csv")
    site.make_version("flight-delay-v1", tree.uri, tree.digest)
    async with site.agent(store_uri=None, credentials_seconds=4) as task:
        await site.sees("trainingrun-run", lambda spec: _error(spec) == "SecretMissing")
        seen = await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Unreachable")
        assert "modelyard-store" in seen["spec"]["artifact"]["message"]
        await asyncio.wait_for(task, WAIT_SECONDS)


async def test_refused_credentials_are_an_observation_and_the_agent_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.make_run("run", f"{site.uri}flights.csv")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    async with site.agent(credentials_seconds=4) as task:
        await site.sees("trainingrun-run", lambda spec: _error(spec) == "AccessDenied")
        await asyncio.wait_for(task, WAIT_SECONDS)


async def test_agent_with_good_credentials_does_not_end(site: Site) -> None:
    async with site.agent(credentials_seconds=0.2) as task:
        done, _ = await asyncio.wait([task], timeout=2)
        assert not done


async def test_slow_reading_is_told(site: Site, monkeypatch: pytest.MonkeyPatch, tree: PublishedTree) -> None:
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(*_: object) -> Identity:
        asyncio.run_coroutine_threadsafe(held.wait(), loop).result(WAIT_SECONDS)
        return Identity(tree.digest, 1)

    monkeypatch.setattr(watcher, "PARTIAL_SECONDS", 0.1)
    monkeypatch.setattr("modelyard.agent.lookout.hash_source", slow)
    ObjectStore(site.uri).put("flights.csv", b"1\n")
    site.make_run("run", f"{site.uri}flights.csv")
    site.make_version("flight-delay-v1", tree.uri, tree.digest)
    async with site.agent():
        seen = await site.sees("trainingrun-run", lambda spec: spec["inputs"])
        assert seen["spec"]["inputs"] == [{"name": "input-0", "bytes": 0}]
        seen = await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"])
        assert "still reading" in seen["spec"]["artifact"]["message"]
        held.set()
        await site.sees("trainingrun-run", lambda spec: spec["inputs"][0]["digest"])
        await site.sees("modelversion-flight-delay-v1", lambda spec: spec["artifact"]["state"] == "Verified")


async def test_deleted_or_forged_observation_is_written_again(site: Site, tree: PublishedTree) -> None:
    site.make_version("flight-delay-v1", tree.uri, tree.digest)
    name = "modelversion-flight-delay-v1"
    async with site.agent():
        await site.sees(name, lambda spec: spec["artifact"]["state"] == "Verified")
        site.kubectl("delete", "observation", name)
        await site.sees(name, lambda spec: spec["artifact"]["state"] == "Verified")
        forged = {"spec": {"artifact": {"digest": tree.digest, "state": "Missing"}}}
        site.kubectl("patch", "observation", name, "--type=merge", f"--patch={json.dumps(forged)}")
        await site.sees(name, lambda spec: spec["artifact"]["state"] == "Verified")


async def test_finished_and_deleted_subjects_are_left_alone(site: Site) -> None:
    site.make_run("run", f"{site.uri}missing.csv")
    async with site.agent():
        await site.sees("trainingrun-run", lambda spec: _error(spec) == "InputNotFound")
        site.set_status("run", {"completionTime": "2026-01-01T00:00:00Z"})
        ObjectStore(site.uri).put("missing.csv", b"1")
        site.make_run("other", f"{site.uri}missing.csv")
        await site.sees("trainingrun-other", lambda spec: spec["inputs"][0]["digest"])
        assert _error(site.observation("trainingrun-run")["spec"]) == "InputNotFound"
        site.kubectl("delete", "trainingrun", "other")
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while site.metrics.registry.get_sample_value("modelyard_agent_subjects") != 0:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)


async def test_agent_is_ready_once_everything_is_listed(site: Site) -> None:
    async with site.agent():
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            with suppress(urllib.error.URLError):
                if (await site.get("/readyz"))[0] == 200:
                    break
            assert asyncio.get_running_loop().time() < deadline
        assert (await site.get("/livez"))[0] == 200
        status, text = await site.get("/metrics")
        assert status == 200
        assert 'modelyard_agent_lists_total{resource="trainingruns"} 1.0' in text
