"""`python -m bench.pipelines`: 1,000 Pipelines in 50 namespaces, on an API server of its own; writes bench/results."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config

from bench.bars import Bar, save
from bench.cluster import Samples, samples_of, total
from dev.cluster import controlplane, tools
from dev.cluster.controlplane import ControlPlane
from dev.cluster.paths import REPOSITORY
from dev.cluster.processes import Processes
from modelyard.api.v1alpha1.names import GROUP, VERSION

NAMESPACES, EACH = 50, 20
PIPELINES = NAMESPACES * EACH
SETTLE_SECONDS = 180
QUIET_SECONDS = 60
API_PORT, OPERATOR_PORT = 31_976, 31_977
WRITES = ("create", "update", "apply", "delete")
SPEC: dict[str, Any] = {
    "triggers": {
        "inputs": {"pollSeconds": 300},
        "schedule": {"cron": "0 3 1 1 *", "timeZone": "Europe/Berlin"},
    },
    "template": {
        "spec": {
            "model": "m",
            "suspend": True,
            "inputs": [{"name": "data", "uri": "s3://bucket/data/"}],
            "steps": [{"name": "train", "image": "train:1", "inputs": ["data"], "outputs": ["model"]}],
        }
    },
}
"""Its runs are suspended: what they do is measured elsewhere."""


def main() -> int:
    """Measure everything; returns 1 when a bar does not hold."""
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as folder, _control_plane(Path(folder)) as plane:
        connection = client.Configuration()
        config.load_kube_config(str(plane.kubeconfig), client_configuration=connection)
        with client.ApiClient(connection) as api:
            _populate(api)
            with _operator(plane.kubeconfig) as read:
                bars = _measure(api, read)
    print(f"\nraw figures: {save(bars, 'pipelines')}\n")
    for bar in bars:
        print(bar)
    return 0 if all(bar.holds for bar in bars) else 1


def _measure(api: client.ApiClient, read: Callable[[], Samples]) -> list[Bar]:
    began = time.monotonic()
    _until(lambda: _recorded(api) == PIPELINES)
    first = time.monotonic() - began
    _until_idle(read)
    before = read()
    time.sleep(QUIET_SECONDS)
    after = read()
    writes = _writes(after) - _writes(before)
    cpu = total(after, "process_cpu_seconds_total") - total(before, "process_cpu_seconds_total")
    memory = total(after, "process_resident_memory_bytes") / 1e6
    return [
        Bar(
            f"{PIPELINES} Pipelines, start of the operator until each has made and recorded its first run",
            "s",
            120,
            (first,),
        ),
        Bar(f"writes in {QUIET_SECONDS} s when nothing happens", "", 0, (writes,)),
        Bar(f"CPU in these {QUIET_SECONDS} s", "s", 3, (cpu,)),
        Bar(f"RSS with {PIPELINES} Pipelines and as many runs", "MB", 250, (memory,)),
        Bar("CPU of a pass that changes nothing, its watch event included", "ms", 4, (_pass_cost(api, read),)),
    ]


@contextmanager
def _control_plane(folder: Path) -> Iterator[ControlPlane]:
    plane = ControlPlane(folder, "127.0.0.1", API_PORT, "10.96.0.0/16", nodes=False)
    processes = Processes(folder / "processes")
    try:
        binaries = tools.ensure(tools.CONTROL_PLANE, print)
        controlplane.start(plane, processes, binaries)
        kubectl = [str(tools.path_of("kubectl")), f"--kubeconfig={plane.kubeconfig}"]
        definitions = f"--filename={REPOSITORY / 'crds'}"
        subprocess.run([*kubectl, "apply", "--server-side", definitions], check=True, timeout=60)
        subprocess.run([*kubectl, "wait", "--for=condition=Established", definitions], check=True, timeout=60)
        yield plane
    finally:
        controlplane.stop(processes)


@contextmanager
def _operator(kubeconfig: Path) -> Iterator[Callable[[], Samples]]:
    """Run the operator, and give what reads its metrics."""
    settings = {
        "NAMESPACE": "default",
        "TRAINER_IMAGE": "trainer:1",
        "SERVER_IMAGE": "server:1",
        "KUBECONFIG": str(kubeconfig),
        "BIND_ADDRESS": "127.0.0.1",
        "PORT": str(OPERATOR_PORT),
        "LOG_LEVEL": "WARNING",
    }
    variables = {**os.environ, **{f"MODELYARD_{name}": value for name, value in settings.items()}}

    def read() -> Samples:
        with urllib.request.urlopen(f"http://127.0.0.1:{OPERATOR_PORT}/metrics", timeout=10) as answer:
            return samples_of(answer.read().decode())

    with subprocess.Popen([sys.executable, "-m", "modelyard.controller"], env=variables) as process:
        try:
            yield read
        finally:
            process.terminate()


def _populate(api: client.ApiClient) -> None:
    core, objects = client.CoreV1Api(api), client.CustomObjectsApi(api)
    names = [f"tenant-{number}" for number in range(NAMESPACES)]

    def fill(namespace: str) -> None:
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
        for number in range(EACH):
            pipeline = _object("Pipeline", f"pipeline-{number}", SPEC)
            stored: Any = objects.create_namespaced_custom_object(GROUP, VERSION, namespace, "pipelines", pipeline)
            metadata = stored["metadata"]
            seen = {
                "subject": {"kind": "Pipeline", "name": metadata["name"], "uid": metadata["uid"]},
                "observedTime": metadata["creationTimestamp"],
                "inputs": [{"name": "data", "digest": f"sha256:{number:064x}"}],
            }
            observation = _object("Observation", f"pipeline-{metadata['name']}", seen)
            objects.create_namespaced_custom_object(GROUP, VERSION, namespace, "observations", observation)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, names))


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _recorded(api: client.ApiClient) -> int:
    """Return how many Pipelines know their first run."""
    listed: Any = client.CustomObjectsApi(api).list_cluster_custom_object(GROUP, VERSION, "pipelines")
    return sum(bool(item.get("status", {}).get("recentRuns")) for item in listed["items"])


def _pass_cost(api: client.ApiClient, read: Callable[[], Samples]) -> float:
    """Touch every Pipeline and return the operator's CPU per pass, in milliseconds."""
    objects = client.CustomObjectsApi(api)
    before = read()
    body = {"metadata": {"annotations": {"bench.modelyard.dev/touched": str(time.monotonic_ns())}}}
    for namespace in range(NAMESPACES):
        for number in range(EACH):
            objects.patch_namespaced_custom_object(
                GROUP, VERSION, f"tenant-{namespace}", "pipelines", f"pipeline-{number}", body
            )
    _until(lambda: _passes(read()) - _passes(before) >= PIPELINES)
    after = read()
    seconds = total(after, "process_cpu_seconds_total") - total(before, "process_cpu_seconds_total")
    return 1000 * seconds / (_passes(after) - _passes(before))


def _passes(samples: Samples) -> float:
    return total(samples, "controller_runtime_reconcile_total")


def _writes(samples: Samples) -> float:
    requests = "modelyard_api_requests_total"
    leases = sum(total(samples, requests, verb=verb, resource="leases") for verb in WRITES)
    return sum(total(samples, requests, verb=verb) for verb in WRITES) - leases


def _until_idle(read: Callable[[], Samples]) -> None:
    """Wait until ten seconds pass without a write."""
    quiet_since, known = time.monotonic(), -1.0

    def is_idle() -> bool:
        nonlocal quiet_since, known
        now = _writes(read())
        if now != known:
            quiet_since, known = time.monotonic(), now
        return time.monotonic() - quiet_since > 10

    _until(is_idle)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the operator did not settle within {SETTLE_SECONDS} s")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
