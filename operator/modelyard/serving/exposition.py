"""The server's metrics in Prometheus' formats."""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from typing_extensions import override

from modelyard.serving.metrics import Histogram, Metrics
from modelyard.serving.models import Model
from modelyard.serving.settings import Settings

PREFIX: Final = "modelyard_inference_"


class Exposition:
    """Renders one server's metrics from a registry of its own.

    Args:
        served: Returns the model that answers now, if there is one.
    """

    def __init__(self, metrics: Metrics, settings: Settings, served: Callable[[], Model | None]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_ServingCollector(metrics, settings, served))
        ProcessCollector(registry=self._registry)

    def register(self, collector: Collector) -> None:
        """Show what another part of the server counts."""
        self._registry.register(collector)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page in the best format that the `Accept` header allows, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _ServingCollector(Collector):
    def __init__(self, metrics: Metrics, settings: Settings, served: Callable[[], Model | None]) -> None:
        self._metrics = metrics
        self._served = served
        self._model_name = settings.model_name
        self._own = settings.metric_labels

    @override
    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield self._counters("requests", "Answers by endpoint and status.", ("endpoint", "code"), metrics.requests)
        yield self._histograms(
            "request_duration_seconds",
            "Time from a request's last byte to its answer.",
            ("endpoint", "outcome"),
            {("infer", outcome): histogram for outcome, histogram in metrics.durations.items()},
        )
        yield self._histograms(
            "queue_wait_seconds", "Time from a request's last byte to its run.", (), {(): metrics.queue_wait}
        )
        yield self._histograms("batch_rows", "Rows answered by one run of the model.", (), {(): metrics.batch_rows})
        yield self._counters("rows", "Rows of answered inference requests.", (), {(): metrics.rows})
        yield self._counters("shed", "Requests refused because too many were waiting.", (), {(): metrics.shed})
        yield self._counters("timeouts", "Requests not answered in time.", (), {(): metrics.timeouts})
        yield self._counters(
            "invalid_values", "Values refused, by feature and kind.", ("feature", "kind"), metrics.invalid_values
        )
        yield self._gauge(f"{PREFIX}in_flight", "Inference requests being answered.", metrics.in_flight)
        yield self._counters("model_swaps", "Models that replaced another while serving.", (), {(): metrics.swaps})
        model = self._served()
        if model is not None:
            yield from self._model(model)

    def _model(self, model: Model) -> Iterator[Metric]:
        identity = {"model": self._model_name, "digest": model.digest, "format": "ONNX"}
        yield self._gauge("modelyard_model_info", "The served model.", 1, identity)
        times = model.times
        yield self._gauge("modelyard_model_load_seconds", "Time that loading took.", times.load)
        yield self._gauge(
            "modelyard_model_golden_check_seconds", "Time that the golden examples took.", times.golden_check
        )
        yield self._gauge("modelyard_model_calibration_seconds", "Time that measuring took.", times.calibration)
        yield self._gauge("modelyard_model_memory_bytes", "Memory that loading and running it added.", times.memory)
        yield self._gauge("modelyard_model_best_rows", "Rows up to which requests share a run.", model.cost.best_rows)

    def _counters(self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
        family = CounterMetricFamily(PREFIX + name, text, labels=[*self._own, *labels])
        for key, value in values.items():
            family.add_metric([*self._own.values(), *map(str, key)], value)
        return family

    def _histograms(
        self, name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], Histogram]
    ) -> Metric:
        family = HistogramMetricFamily(PREFIX + name, text, labels=[*self._own, *labels])
        for key, histogram in values.items():
            bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
            family.add_metric([*self._own.values(), *key], buckets, histogram.sum)
        return family

    def _gauge(self, name: str, text: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
        labels = {**self._own, **(labels or {})}
        family = GaugeMetricFamily(name, text, labels=list(labels))
        family.add_metric(list(labels.values()), value)
        return family
