"""Bars that need the whole cluster: the operator as its chart runs it, and its metrics as Prometheus reads them."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from bench.bars import Bar
from dev.cluster.paths import state_dir
from dev.install import SYSTEM_NAMESPACE, Installation

OPERATOR = "deployment/modelyard-operator"
OPERATOR_PODS = "--selector=app.kubernetes.io/name=modelyard,app.kubernetes.io/component=operator"
OBJECTS = 500
WATCHED_SECONDS = 60
AUDIT_WRITES = {"create", "update", "patch", "delete", "deletecollection"}
SETTLE_SECONDS = 120
BEGAN = """
import os, time
uptime = float(open('/proc/uptime').read().split()[0])
ticks = int(open('/proc/1/stat').read().rpartition(')')[2].split()[19])
began = time.time() - uptime + ticks / os.sysconf('SC_CLK_TCK')
"""
"""Runs in a pod: when its container's process began, to a hundredth of a second."""
PRINT_BEGAN = BEGAN + "print(began)"
PRINT_PASSES = (
    BEGAN
    + f"""
import urllib.request
wanted, name = [1, {OBJECTS}], 'controller_runtime_reconcile_total'
while wanted and time.time() < began + {SETTLE_SECONDS}:
    try:
        text = urllib.request.urlopen('http://127.0.0.1:8080/metrics', timeout=5).read().decode()
    except OSError:
        text = ''
    passes = sum(float(line.rsplit(' ', 1)[1]) for line in text.splitlines() if line.startswith(name))
    while wanted and passes >= wanted[0]:
        print(time.time() - began, flush=True)
        wanted.pop(0)
    time.sleep(0.05)
"""
)
"""Runs in the operator's pod: seconds from the process' start to the first pass, and to one for each object."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Operator:
    """The running operator."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    @contextmanager
    def metrics(self) -> Iterator[Callable[[], Samples]]:
        """Give a function that reads the metrics of the operator that runs now."""
        with self.installation.forward(OPERATOR, 8080, SYSTEM_NAMESPACE) as port:

            def read() -> Samples:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    return samples_of(answer.read().decode())

            yield read

    def restart(self) -> tuple[float, float]:
        """Delete the operator's pod; return when the next one made its first pass and its 500th, after its start."""
        kubectl, namespace = self.installation.kubectl, f"-n={SYSTEM_NAMESPACE}"
        before = self._running()
        kubectl("delete", "pods", OPERATOR_PODS, namespace, "--wait=false", timeout=120)
        _until(lambda: bool(self._running() - before))
        (pod,) = self._running() - before
        printed = kubectl("exec", namespace, pod, "--", "python", "-c", PRINT_PASSES, timeout=180)
        kubectl("rollout", "status", OPERATOR, namespace, "--timeout=120s", timeout=150)
        first, everything = (float(line) for line in printed.split())
        return first, everything

    def _running(self) -> set[str]:
        pods = self.installation.get("pods", OPERATOR_PODS, f"-n={SYSTEM_NAMESPACE}")["items"]
        return {
            pod["metadata"]["name"]
            for pod in pods
            if any("running" in container["state"] for container in pod["status"].get("containerStatuses", []))
        }


def samples_of(text: str) -> Samples:
    """Read metrics as Prometheus does."""
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    """Add the samples of a name whose labels are as given."""
    return sum(v for (found, on), v in samples.items() if found == name and labels.items() <= dict(on).items())


def idle_memory(operator: Operator) -> Bar:
    """Resident memory of the operator while nothing happens."""
    with operator.metrics() as read:
        values = tuple(total(read(), "process_resident_memory_bytes") / 1e6 for _ in range(3))
    return Bar("operator idle RSS", "MB", 120, values)


def converged_writes() -> Bar:
    """Write requests of the operator in a minute in which nothing happens, its Lease aside: the API server's count.

    Raises:
        FileNotFoundError: The cluster has no audit log that this machine can read.
    """
    since = datetime.now(UTC)
    time.sleep(WATCHED_SECONDS)
    with (state_dir() / "audit.log").open() as log:
        counted = sum(_is_operator_write(json.loads(line), since) for line in log)
    return Bar(f"writes of the operator in {WATCHED_SECONDS} s when converged, its Lease aside", "", 0, (counted,))


def _is_operator_write(event: dict[str, Any], since: datetime) -> bool:
    user = event["user"].get("username")  # absent when the API server itself could not tell, as while it starts
    return (
        user == f"system:serviceaccount:{SYSTEM_NAMESPACE}:modelyard-operator"
        and event["verb"] in AUDIT_WRITES
        and event.get("objectRef", {}).get("resource") != "leases"
        and datetime.fromisoformat(event["requestReceivedTimestamp"]) >= since
    )


def restart_with_objects(operator: Operator, namespace: str) -> list[Bar]:
    """With 500 objects: time from the process' start to reconciled, and CPU of a pass that changes nothing."""
    _make_versions(operator.installation, namespace)
    with operator.metrics() as read:
        _until(lambda: total(read(), "workqueue_depth") == 0)
    first, everything, cpu = [], [], []
    for _ in range(3):
        to_first, to_all = operator.restart()
        first.append(to_first)
        everything.append(to_all)
        with operator.metrics() as read:
            cpu.append(_pass_cost(operator.installation, namespace, read))
    return [
        Bar(f"restart with {OBJECTS} objects to first reconcile", "s", 10, tuple(first)),
        Bar(f"restart with {OBJECTS} objects until all are reconciled", "s", 10, tuple(everything)),
        Bar("CPU of a pass that changes nothing, its watch event included", "ms", 2, tuple(cpu)),
    ]


def server_cold_start(installation: Installation, namespace: str, deployment: str) -> Bar:
    """Time from the start of the model server's process to its word that it is ready, inside the pod."""
    selector = f"--selector=modelyard.dev/deployment={deployment}"
    values = []
    for _ in range(3):
        installation.kubectl("delete", "pods", selector, f"-n={namespace}", "--wait=true", timeout=120)
        _until(lambda: bool(_ready_pods(installation, namespace, selector)))
        pod = _ready_pods(installation, namespace, selector)[0]
        began = float(
            installation.kubectl("exec", f"-n={namespace}", pod, "-c=server", "--", "python", "-c", PRINT_BEGAN)
        )
        log = installation.kubectl("logs", f"-n={namespace}", pod, "-c=server", "--timestamps")
        stamp = next(line.split(" ", 1)[0] for line in log.splitlines() if '"message":"ready"' in line)
        values.append(datetime.fromisoformat(stamp).timestamp() - began)
    return Bar("model server, start of its process to ready, in its pod", "s", 2, tuple(values))


def _ready_pods(installation: Installation, namespace: str, selector: str) -> list[str]:
    pods = installation.get("pods", selector, f"-n={namespace}")["items"]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]


def _pass_cost(installation: Installation, namespace: str, read: Callable[[], Samples]) -> float:
    """Touch every object and return the operator's CPU per pass, in milliseconds."""
    _until(lambda: total(read(), "workqueue_depth") == 0)
    before = read()
    stamp = f"bench.modelyard.dev/touched={time.monotonic_ns()}"
    installation.kubectl("annotate", "modelversions", "--all", "--overwrite", stamp, f"-n={namespace}", timeout=120)
    _until(lambda: _passes(read()) - _passes(before) >= OBJECTS)
    after = read()
    seconds = total(after, "process_cpu_seconds_total") - total(before, "process_cpu_seconds_total")
    return 1000 * seconds / (_passes(after) - _passes(before))


def _passes(samples: Samples) -> float:
    return total(samples, "controller_runtime_reconcile_total")


def _make_versions(installation: Installation, namespace: str) -> None:
    def version(number: int) -> dict[str, Any]:
        artifact = {"uri": f"s3://nowhere/{number}/", "digest": f"sha256:{number:064x}"}
        return {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": f"bench-v{number}"},
            "spec": {"model": "bench", "version": number, "artifact": artifact},
        }

    text = yaml.safe_dump_all(version(number) for number in range(1, OBJECTS + 1))
    installation.kubectl("create", "namespace", namespace)
    installation.kubectl("create", f"-n={namespace}", "-f", "-", stdin=text, timeout=300)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the operator did not settle within {SETTLE_SECONDS} s")
        time.sleep(0.1)
