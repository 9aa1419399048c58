"""The prediction log's counts for Prometheus."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.settings import Settings


class PredictionLogCollector(Collector):
    """Shows the rows of the prediction log by what became of them, and what waits for the courier."""

    def __init__(self, log: PredictionLog, settings: Settings) -> None:
        self._log = log
        self._own = settings.metric_labels

    @override
    def collect(self) -> Iterator[Metric]:
        records = CounterMetricFamily(
            "modelyard_prediction_log_records",
            "Rows of sampled requests by what became of them.",
            labels=[*self._own, "outcome"],
        )
        for outcome, count in self._log.records.items():
            records.add_metric([*self._own.values(), outcome], count)
        yield records
        spool = GaugeMetricFamily(
            "modelyard_prediction_log_spool_bytes", "Bytes that wait for the courier.", labels=list(self._own)
        )
        spool.add_metric(list(self._own.values()), self._log.spool_bytes())
        yield spool
