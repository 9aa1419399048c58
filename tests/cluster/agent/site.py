"""A namespace, a bucket, and the agent between them."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from modelyard.agent.kube import Kube
from modelyard.agent.main import run_agent
from modelyard.agent.metrics import Metrics
from modelyard.agent.settings import Settings
from tests.support.controlplane import ClusterAccess
from tests.support.s3 import S3Server, free_port

WAIT_SECONDS = 20.0


class Site:
    """A namespace, a bucket, and the agent between them."""

    def __init__(self, plane: ClusterAccess, namespace: str, server: S3Server, bucket: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.folder = server.root / bucket
        self.uri = f"s3://{bucket}/"
        self.metrics = Metrics()
        self.settings = Settings(
            namespace=namespace,
            store_uri=self.uri,
            port=free_port(),
            input_seconds=1,
            result_seconds=1,
            verify_seconds=1,
            recheck_seconds=1,
        )

    @asynccontextmanager
    async def agent(self, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
        tls = ssl.create_default_context(cafile=str(self.plane.certificate_authority))
        tls.load_cert_chain(self.plane.client_certificate, self.plane.client_key)
        kube = Kube(self.plane.server, self.namespace, tls=tls)
        task = asyncio.create_task(run_agent(kube, replace(self.settings, **changes), self.metrics))
        yield task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def make_run(self, name: str = "run", *uris: str) -> None:
        inputs = [{"name": f"input-{index}", "uri": uri} for index, uri in enumerate(uris)]
        spec = {"model": "flight-delay", "inputs": inputs, "steps": [{"name": "train", "image": "i"}]}
        self.create("TrainingRun", name, spec)

    def make_pipeline(self, name: str, *uris: str, **spec: Any) -> None:
        inputs = [{"name": f"input-{index}", "uri": uri} for index, uri in enumerate(uris)]
        template = {"model": "flight-delay", "inputs": inputs, "steps": [{"name": "train", "image": "i"}]}
        triggers = {"spec": "Never", "inputs": {"pollSeconds": 10}}
        self.create("Pipeline", name, {"triggers": triggers, "template": {"spec": template}, **spec})

    def make_version(self, name: str, uri: str, digest: str) -> None:
        artifact = {"uri": uri, "digest": digest}
        self.create("ModelVersion", name, {"model": name[:-3], "version": int(name[-1]), "artifact": artifact})

    def create(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        document = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.plane.apply(document, namespace=self.namespace)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        return self.plane.kubectl("--namespace", self.namespace, *arguments, check=check)

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": status})
        self.kubectl("patch", "trainingrun", name, "--subresource=status", "--type=merge", f"--patch={patch}")

    def observation(self, name: str) -> dict[str, Any]:
        text = self.kubectl("get", "observation", name, "--ignore-not-found", "--output=json", "--show-managed-fields")
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    async def sees(self, name: str, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until an Observation's spec is as expected, and return the Observation."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            found = await asyncio.to_thread(self.observation, name)
            with suppress(KeyError, IndexError):
                if condition(found["spec"]):
                    return found
            assert asyncio.get_running_loop().time() < deadline, f"{name} is {found.get('spec')}"

    async def get(self, path: str) -> tuple[int, str]:
        def read() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, ""

        return await asyncio.to_thread(read)

    async def looks(self, what: str, times: int) -> None:
        """Wait until the agent has looked that often since now."""
        start, deadline = self._looked(what), asyncio.get_running_loop().time() + WAIT_SECONDS
        while self._looked(what) < start + times:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)

    def _looked(self, what: str) -> float:
        samples = next(iter(self.metrics.looks.collect())).samples
        return sum(s.value for s in samples if s.name.endswith("_total") and s.labels["what"] == what)

    def writes(self, kind: str) -> float:
        value = self.metrics.registry.get_sample_value("modelyard_agent_observations_written_total", {"kind": kind})
        return value or 0.0
