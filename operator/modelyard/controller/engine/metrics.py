"""The operator's metrics: names as in controller-runtime where it has them, `modelyard_` for the rest.

Labels are bounded: names of controllers, kinds, verbs and codes, never names of objects.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from modelyard.controller.engine.kube import Request

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_QUEUE_SECONDS = (0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300)


@dataclass(frozen=True)
class QueueMetrics:
    """The metrics of one work queue."""

    adds: Counter
    retries: Counter
    wait: Histogram
    work: Histogram
    depth: Gauge
    longest: Gauge
    unfinished: Gauge


class Metrics:
    """All metrics of one process, in a registry of its own.

    Args:
        registry: where they are registered; one registry takes one of these.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._resources = _ResourceCollector()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: Iterable[float] = _SECONDS) -> Histogram:
            return Histogram(name, text, labels, registry=registry, buckets=tuple(buckets))

        self.reconciles = counter(
            "controller_runtime_reconcile", "Passes by controller and result.", "controller", "result"
        )
        self.reconcile_errors = counter("controller_runtime_reconcile_errors", "Passes that failed.", "controller")
        self.reconcile_seconds = histogram(
            "controller_runtime_reconcile_time_seconds", "Length of a pass.", "controller"
        )
        self.max_concurrent = gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers of a controller.", "controller"
        )
        self._adds = counter("workqueue_adds", "Keys added to the queue.", "name")
        self._retries = counter("workqueue_retries", "Keys added again after a failure.", "name")
        self._depth = gauge("workqueue_depth", "Keys that wait.", "name")
        self._wait = histogram(
            "workqueue_queue_duration_seconds", "Time that a key waits.", "name", buckets=_QUEUE_SECONDS
        )
        self._work = histogram("workqueue_work_duration_seconds", "Time that a key is worked on.", "name")
        self._longest = gauge("workqueue_longest_running_processor_seconds", "Age of the oldest running pass.", "name")
        self._unfinished = gauge("workqueue_unfinished_work_seconds", "Sum of the ages of the running passes.", "name")
        self.requests = counter("rest_client_requests", "API requests by code and method.", "code", "method")
        self.api_requests = counter(
            "modelyard_api_requests", "API requests; code 0 is no answer.", "verb", "resource", "code"
        )
        self.api_request_seconds = histogram(
            "modelyard_api_request_seconds", "Time to the answer of an API request.", "verb", "resource"
        )
        self.leader = gauge("leader_election_master_status", "1 in the replica that leads.", "name")
        self.loop_lag = gauge("modelyard_event_loop_lag_seconds", "How late the event loop last was.")
        self.cache_relists = counter("modelyard_cache_relists", "Full lists of a kind.", "kind", "reason")
        self.cache_errors = counter("modelyard_cache_errors", "Failed lists and watches of a kind.", "kind")
        self.cache_missed = counter(
            "modelyard_cache_missed_changes", "Changes that a full list found before the watch told.", "kind"
        )
        self._cache_age = gauge(
            "modelyard_cache_last_event_age_seconds", "Time since a kind's cache last heard anything.", "kind"
        )
        self._cache_objects = gauge("modelyard_cache_objects", "Objects in a kind's cache.", "kind")
        registry.register(self._resources)

    def queue(self, name: str) -> QueueMetrics:
        """The metrics of the queue of controller `name`."""
        return QueueMetrics(
            adds=self._adds.labels(name),
            retries=self._retries.labels(name),
            wait=self._wait.labels(name),
            work=self._work.labels(name),
            depth=self._depth.labels(name),
            longest=self._longest.labels(name),
            unfinished=self._unfinished.labels(name),
        )

    def count_request(self, request: Request) -> None:
        """Counts a call of the API."""
        self.requests.labels(request.code, request.method).inc()
        self.api_requests.labels(request.verb, request.resource, request.code).inc()
        self.api_request_seconds.labels(request.verb, request.resource).observe(request.seconds)

    def watch_cache(self, kind: str, *, age: Callable[[], float], objects: Callable[[], float]) -> None:
        """Reads these two of a kind's cache at every scrape."""
        self._cache_age.labels(kind).set_function(age)
        self._cache_objects.labels(kind).set_function(objects)

    def count_resources(self, kind: str, by_ready: Callable[[], Mapping[str, int]]) -> None:
        """Reads the numbers of a kind's objects by their Ready status at every scrape."""
        self._resources.kinds[kind] = by_ready


class _ResourceCollector(Collector):
    def __init__(self) -> None:
        self.kinds: dict[str, Callable[[], Mapping[str, int]]] = {}

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("modelyard_resources", "Objects by kind and Ready status.", labels=["kind", "ready"])
        for kind, by_ready in self.kinds.items():
            for ready, number in by_ready().items():
                family.add_metric([kind, ready], number)
        yield family
