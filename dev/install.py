"""Modelyard on the local cluster: its charts, a tenant, and the embedded store. The demo and the tests use it."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obstore.store import S3Store

from dev.cluster import tools
from dev.cluster.paths import REPOSITORY, Report, kubeconfig_path
from dev.images import assembly
from dev.images.catalogue import ALL_IMAGES, Image
from dev.shell import CommandError, run

SYSTEM_NAMESPACE = "modelyard-system"
RELEASE = "modelyard"
BUCKET = "modelyard"
STORE_SERVICE = f"{RELEASE}-s3"
STORE_PORT = 7070
REGION = "us-east-1"
CHARTS = REPOSITORY / "charts"


@dataclass(frozen=True)
class Store:
    """Where an S3 server is reached, and its keys."""

    endpoint: str
    keys: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """Variables for obstore and for the store Secret."""
        return {
            **self.keys,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def bucket(self, prefix: str = "") -> S3Store:
        """Open the bucket, or what is under a prefix of it."""
        return S3Store(
            BUCKET,
            prefix=prefix or None,
            access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
            endpoint=self.endpoint,
            region=REGION,
            client_options={"allow_http": True},
        )


class Installation:
    """The local cluster with our charts in it."""

    def __init__(self, report: Report, kubeconfig: Path | None = None) -> None:
        self.report = report
        self.kubeconfig = kubeconfig or kubeconfig_path()
        binaries = tools.ensure(["kubectl", "helm"], report)
        self._kubectl, self._helm = binaries["kubectl"], binaries["helm"]

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl; see `run` for errors."""
        return run([self._kubectl, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `kubectl get` finds, as data."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "--output=json", *arguments))
        return found

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None, timeout: float = 300) -> str:
        """Run helm; `values` go through standard input, so that keys are in no process list."""
        words: list[str | Path] = [self._helm, *arguments, f"--kubeconfig={self.kubeconfig}"]
        if values is None:
            return run(words, timeout=timeout)
        return run([*words, "--values=-"], stdin=json.dumps(values), timeout=timeout)

    def load_images(self) -> list[Image]:
        """Build the images that changed and give them to the cluster."""
        images = assembly.build(ALL_IMAGES, self.report)
        assembly.load(images, self.report)
        return images

    def install_operator(self, images: list[Image], *, values: Mapping[str, Any] | None = None) -> None:
        """Install or upgrade the operator's chart with the embedded store, and wait until both are ready."""
        tags = {image.name: {"tag": image.tag} for image in images}
        merged = {
            "images": tags,
            "embeddedStore": {"enabled": True, "keep": True, "buckets": [BUCKET], "persistence": {"enabled": False}},
            **(values or {}),
        }
        self._upgrade(RELEASE, CHARTS / "modelyard", SYSTEM_NAMESPACE, merged)

    def install_tenant(
        self, tenant: str, environment: str, images: list[Image], *, values: Mapping[str, Any] | None = None
    ) -> str:
        """Install or upgrade a tenant's chart, and wait until its agent is ready; return the namespace."""
        namespace = f"{tenant}-{environment}"
        tags = {image.name: {"tag": image.tag} for image in images if image.name == "operator"}
        merged = {
            "tenant": tenant,
            "environment": environment,
            "images": tags,
            "store": {"uri": f"s3://{BUCKET}/{namespace}/", "env": self.store().environment},
            **(values or {}),
        }
        self._upgrade(namespace, CHARTS / "modelyard-tenant", SYSTEM_NAMESPACE, merged)
        return namespace

    def store(self) -> Store:
        """Return the embedded store as pods reach it."""
        secret = self.get("secret", STORE_SERVICE, f"--namespace={SYSTEM_NAMESPACE}")
        keys = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        return Store(f"http://{STORE_SERVICE}.{SYSTEM_NAMESPACE}.svc:{STORE_PORT}", keys)

    @contextmanager
    def reachable_store(self) -> Iterator[Store]:
        """Make the embedded store reachable from this machine."""
        with self.forward(f"service/{STORE_SERVICE}", STORE_PORT, SYSTEM_NAMESPACE) as port:
            yield Store(f"http://127.0.0.1:{port}", self.store().keys)

    @contextmanager
    def forward(self, target: str, port: int, namespace: str) -> Iterator[int]:
        """Forward a free loopback port to a Service or pod, and give its number."""
        command = [str(self._kubectl), f"--kubeconfig={self.kubeconfig}", "port-forward", target, f":{port}"]
        words = [*command, f"--namespace={namespace}", "--address=127.0.0.1"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                line = process.stdout.readline() if process.stdout else ""
                # Forwarding from 127.0.0.1:41234 -> 7070
                local = line.partition("127.0.0.1:")[2].partition(" ")[0]
                if not local:
                    raise CommandError(f"port-forward to {target} in {namespace} did not start: {line.strip()}")
                yield int(local)
            finally:
                process.terminate()

    def _upgrade(self, release: str, chart: Path, namespace: str, values: Mapping[str, Any]) -> None:
        started = time.monotonic()
        self._end_interrupted(release, namespace)
        self.helm(
            "upgrade",
            "--install",
            release,
            str(chart),
            f"--namespace={namespace}",
            "--create-namespace",
            "--wait",
            "--timeout=3m",
            values=values,
        )
        self.report(f"{release}: chart {chart.name} is ready ({time.monotonic() - started:.0f} s)")

    def _end_interrupted(self, release: str, namespace: str) -> None:
        """End what an earlier helm that was killed has begun: helm itself refuses to go on."""
        pending = self.helm("list", "--pending", f"--filter=^{release}$", f"--namespace={namespace}", "--output=json")
        for found in json.loads(pending):
            self.report(f"{release}: ending an interrupted {found['status']}")
            command = "uninstall" if found["status"] == "pending-install" else "rollback"
            self.helm(command, release, f"--namespace={namespace}")
