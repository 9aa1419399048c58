"""A tenant namespace on the whole local cluster, as its users see it."""

import csv
import io
import json
import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import obstore
import yaml
from obstore.store import S3Store

from dev.images.catalogue import Image
from dev.install import BUCKET, Installation, Store
from dev.shell import CommandError
from tests.support.waiting import wait_until

Manifest = dict[str, Any]
SMALL_ROWS = 1500


@dataclass
class Tenant:
    """One namespace with an agent and a store."""

    installation: Installation
    namespace: str
    store: Store
    """The store as this machine reaches it."""
    prefix: str = field(default_factory=lambda: f"e2e-{secrets.token_hex(4)}/")
    """Where the test's own data is in the bucket."""

    def uri(self, path: str) -> str:
        """Return the URI of the test's own data."""
        return f"s3://{BUCKET}/{self.prefix}{path}"

    @property
    def bucket(self) -> S3Store:
        """The bucket, reached from this machine."""
        return self.store.bucket()

    def put(self, path: str, data: bytes) -> None:
        """Write an object of the test's own data."""
        obstore.put(self.bucket, self.prefix + path, data)

    def apply(self, *manifests: Manifest) -> None:
        """Apply objects in the namespace, as a person would."""
        text = yaml.safe_dump_all(manifests)
        self.installation.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=text)

    def delete(self, reference: str, *, wait: bool = False) -> None:
        """Delete KIND/NAME."""
        self.installation.kubectl("delete", reference, "-n", self.namespace, f"--wait={str(wait).lower()}")

    def evict(self, pod: str) -> None:
        """Evict a pod, as the drain of its node does."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        self.installation.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def get(self, kind: str, name: str) -> Manifest:
        """Return one object."""
        return self.installation.get(kind, name, "-n", self.namespace)

    def list(self, kind: str, selector: str = "") -> list[Manifest]:
        """Return the objects of a kind."""
        words = [kind, "-n", self.namespace, *([f"--selector={selector}"] if selector else [])]
        items: list[Manifest] = self.installation.get(*words)["items"]
        return items

    def wait(self, kind: str, name: str, until: Callable[[Manifest], bool], *, seconds: float, what: str) -> Manifest:
        """Poll an object until it is as wanted; the failure shows its status."""
        found: Manifest = {}

        def reached() -> bool:
            found.update(self.get(kind, name))
            return until(found)

        try:
            wait_until(reached, seconds=seconds, what=f"{kind}/{name}: {what}", poll_seconds=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(found.get('status'), indent=1)}\n{self.pods()}") from None
        return found

    def wait_condition(
        self, kind: str, name: str, condition: str, status: str, *, reason: str | None = None, seconds: float = 120
    ) -> Manifest:
        """Poll until a condition has a status (and a reason); return the condition."""

        def holds(manifest: Manifest) -> bool:
            found = condition_of(manifest, condition)
            return found.get("status") == status and (reason is None or found.get("reason") == reason)

        wanted = f"{condition}={status}" + (f"/{reason}" if reason else "")
        return condition_of(self.wait(kind, name, holds, seconds=seconds, what=wanted), condition)

    def pods(self) -> str:
        """Return what `kubectl get pods` shows, for a person who reads a failure."""
        try:
            return self.installation.kubectl("get", "pods,jobs", "-n", self.namespace)
        except CommandError as error:
            return str(error)


def condition_of(manifest: Mapping[str, Any], condition: str) -> Manifest:
    """Return a condition, or an empty mapping."""
    conditions: list[Manifest] = manifest.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == condition), {})


def small_table(seed: int, rows: int = SMALL_ROWS) -> bytes:
    """Return a CSV file whose label follows from its columns, with some noise; `at` is its time column."""
    rng = random.Random(seed)  # noqa: S311 - test data
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["at", "size", "colour", "bad"])
    for row in range(rows):
        size, colour = rng.gauss(0, 1), rng.choice(["red", "green", "blue"])
        bad = size + (colour == "red") + rng.gauss(0, 0.7) > 0.6
        writer.writerow(
            [f"2026-01-01T{row // 3600:02d}:{row // 60 % 60:02d}:{row % 60:02d}Z", f"{size:.4f}", colour, int(bad)]
        )
    return text.getvalue().encode()


def small_run(tenant: Tenant, name: str, *, model: str, data: str, **spec: Any) -> Manifest:
    """Return a TrainingRun that takes seconds: built-in steps over a small table."""
    return training_run(
        name,
        model=model,
        inputs=[{"name": "table", "uri": tenant.uri(data)}],
        parameters=[
            {"name": "label", "value": "bad"},
            {"name": "timeColumn", "value": "at"},
            {"name": "testFraction", "value": "0.3"},
            {"name": "estimator", "value": "logisticRegression"},
        ],
        steps=[
            {"name": "prepare", "uses": "tabular/prepare@v1", "inputs": ["table"], "outputs": ["features"]},
            {"name": "train", "uses": "tabular/train@v1", "inputs": ["features"], "outputs": ["model"]},
        ],
        evaluation={"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize"},
        **spec,
    )


def code_run(name: str, code: str, image: str, *, model: str = "own", **step: Any) -> Manifest:
    """Return a TrainingRun of one step that runs Python code in an image."""
    own = {"name": "train", "image": image, "command": ["python", "-c", code], "backoffLimit": 0, "outputs": ["model"]}
    return training_run(name, model=model, steps=[own | step])


def training_run(name: str, **spec: Any) -> Manifest:
    """Return a TrainingRun."""
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": name},
        "spec": spec,
    }


def deployment(name: str, model: Mapping[str, Any], **endpoint: Any) -> Manifest:
    """Return a modelyard Deployment."""
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"model": dict(model), "endpoint": endpoint},
    }


def make_tenant(
    installation: Installation, images: list[Image], store: Store, values: Mapping[str, Any] | None = None
) -> Iterator[Tenant]:
    """Install a tenant with a name of its own, and have it removed while the tests go on."""
    name = f"e2e{secrets.token_hex(3)}"
    namespace = installation.install_tenant(name, "development", images, values=values)
    yield Tenant(installation, namespace, store)
    installation.helm("uninstall", namespace, "--namespace=modelyard-system")
    installation.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found", timeout=120)
