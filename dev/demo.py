"""`make demo`: from a bare machine to predictions of a model that was trained, judged, recorded and rolled out here."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from dev import demo_data
from dev.cluster import backend
from dev.cluster.errors import ClusterError
from dev.cluster.paths import REPOSITORY
from dev.install import Installation
from dev.shell import CommandError, run

EXAMPLE = REPOSITORY / "examples" / "flight-delay"
TENANT, ENVIRONMENT = "air", "development"
MODEL = "flight-delay"
TRAINING_SECONDS = 900
ROLLOUT_SECONDS = 300


class Timeline:
    """Prints every line with the seconds since the start."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def __call__(self, line: str) -> None:
        """Print one line."""
        print(f"[{self.seconds:4.0f} s] {line}", flush=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Print what begins, and how long it took."""
        print(f"\n── {title}", flush=True)
        before = self.seconds
        yield
        self(f"{title}: {self.seconds - before:.0f} s")


def main() -> int:
    """Run the demo; returns the exit status."""
    timeline = Timeline()
    try:
        _demo(timeline)
    except (ClusterError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _demo(timeline: Timeline) -> None:
    with timeline.stage("A Kubernetes cluster"):
        backend.choose(timeline).up()
        installation = Installation(timeline)
    with timeline.stage("Images"):
        images = installation.load_images()
    with timeline.stage("Charts: the operator, an S3 server, and the tenant 'air' in development"):
        installation.install_operator(images)
        namespace = installation.install_tenant(TENANT, ENVIRONMENT, images)
    with timeline.stage("Data: flights, weather and planes of New York's airports, 2013"):
        number, manifest = _next_run(installation, namespace)
        with installation.reachable_store() as store:
            demo_data.upload(store.bucket(TENANT), timeline, month=demo_data.last_month(number))
    with timeline.stage(f"Training: kubectl apply, TrainingRun {manifest['metadata']['name']}"):
        installation.kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=yaml.safe_dump(manifest))
        _watch(installation, namespace, f"trun/{manifest['metadata']['name']}", TRAINING_SECONDS)
    with timeline.stage("Serving: kubectl apply, Deployment flight-delay, which follows the champion"):
        installation.kubectl("apply", f"--namespace={namespace}", f"--filename={EXAMPLE / 'deployment.yaml'}")
        _watch(installation, namespace, f"mdep/{MODEL}", ROLLOUT_SECONDS)
    with timeline.stage("Three predictions"), installation.forward(f"service/{MODEL}", 80, namespace) as port:
        for request in sorted((EXAMPLE / "requests").glob("*.json"))[:3]:
            timeline(_predict(port, request))
    _show(installation, namespace)


def _next_run(installation: Installation, namespace: str) -> tuple[int, dict[str, Any]]:
    """Return the number and the manifest of the first run, or of a further one, which finds data of more months."""
    existing = {item["metadata"]["name"] for item in installation.get("trainingruns", f"-n={namespace}")["items"]}
    number = next(n for n in count(1) if f"{MODEL}-{n}" not in existing)
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLE / "trainingrun.yaml").read_text())
    manifest["metadata"]["name"] = f"{MODEL}-{number}"
    return number, manifest


def _watch(installation: Installation, namespace: str, reference: str, seconds: int) -> None:
    command = [
        sys.executable,
        "-m",
        "modelyard.cli.main",
        "watch",
        reference,
        "-n",
        namespace,
        "--timeout",
        str(seconds),
    ]
    environment = {"KUBECONFIG": str(installation.kubeconfig), "PATH": "/usr/bin:/bin"}
    if subprocess.run(command, env=environment, check=False, timeout=seconds + 30).returncode:
        raise CommandError(f"{reference} did not become ready; ask: kubectl modelyard why {reference} -n {namespace}")


def _predict(port: int, request: Path) -> str:
    url = f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer"
    answer = run(
        ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "10", url, "--data", f"@{request}"]
    )
    outputs = {output["name"]: output["data"] for output in json.loads(answer)["outputs"]}
    late = outputs["probabilities"][1]
    return f"curl {url} --data @{request.relative_to(REPOSITORY)} → {late:.0%} likely to be more than 15 minutes late"


def _show(installation: Installation, namespace: str) -> None:
    print("\n" + installation.kubectl("get", "modelyard", f"-n={namespace}"))
    versions = sorted(
        installation.get("modelversions", f"-n={namespace}")["items"], key=lambda item: int(item["spec"]["version"])
    )
    newest = versions[-1]
    print(newest["spec"]["evaluation"]["message"])
    kubeconfig = f"export KUBECONFIG={installation.kubeconfig}"
    print(f"""
What to try next:
  {kubeconfig}
  kubectl get modelyard -n {namespace}
  .venv/bin/modelyard why mdep/{MODEL} -n {namespace}
  make demo                        # again: a second run, judged against the first on the same rows""")
    if len(versions) > 1:
        pair = " ".join(version["metadata"]["name"] for version in versions[-2:])
        print(f"  .venv/bin/modelyard compare {pair} -n {namespace}")
    print("  make cluster-down                # remove the cluster")


if __name__ == "__main__":
    sys.exit(main())
