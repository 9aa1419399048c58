"""The server's metrics in Prometheus' formats."""

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from typing_extensions import override

from modelyard.serving.metrics import BUCKETS, Metrics
from modelyard.serving.settings import Settings


class Exposition:
    """Renders one server's metrics from a registry of its own."""

    def __init__(self, metrics: Metrics, settings: Settings) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_ServingCollector(metrics, settings))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page in the best format that the `Accept` header allows, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _ServingCollector(Collector):
    def __init__(self, metrics: Metrics, settings: Settings) -> None:
        self._metrics = metrics
        self._own: Mapping[str, str] = {
            "deployment": settings.deployment,
            "model_version": settings.model_version,
            "track": settings.track,
        }
        self._identity = {"model": settings.model_name, "digest": settings.model_digest, "format": "ONNX"}

    @override
    def collect(self) -> Iterator[Metric]:
        metrics, names, own = self._metrics, list(self._own), list(self._own.values())
        requests = CounterMetricFamily(
            "modelyard_inference_requests", "Answers by endpoint and status.", labels=[*names, "endpoint", "code"]
        )
        for (endpoint, status), count in metrics.requests.items():
            requests.add_metric([*own, endpoint, str(status)], count)
        yield requests
        durations = HistogramMetricFamily(
            "modelyard_inference_request_duration_seconds",
            "Time from a request's last byte to its answer.",
            labels=[*names, "endpoint", "outcome"],
        )
        for outcome, histogram in metrics.durations.items():
            bounds = [*map(str, BUCKETS), "+Inf"]
            buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
            durations.add_metric([*own, "infer", outcome], buckets, histogram.sum)
        yield durations
        rows = CounterMetricFamily("modelyard_inference_rows", "Rows of answered inference requests.", labels=names)
        rows.add_metric(own, metrics.rows)
        yield rows
        in_flight = GaugeMetricFamily(
            "modelyard_inference_in_flight", "Inference requests being answered.", labels=names
        )
        in_flight.add_metric(own, metrics.in_flight)
        yield in_flight
        info = GaugeMetricFamily("modelyard_model_info", "The served model.", labels=[*names, *self._identity])
        info.add_metric([*own, *self._identity.values()], 1)
        yield info
