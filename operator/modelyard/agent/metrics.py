"""The agent's metrics. Label values are few: kinds, states and reasons, and the runs of the moment."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

MAX_RUNS: Final = 100
"""Runs whose progress is shown at once; each has at most 16 metrics."""


class Metrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        """Register everything at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.writes = Counter(
            "modelyard_agent_observations_written", "Observations written.", ["kind"], registry=self.registry
        )
        self.write_failures = Counter(
            "modelyard_agent_write_failures", "Writes that the API refused or missed.", registry=self.registry
        )
        self.looks = Counter(
            "modelyard_agent_looks",
            "Looks at the store, by what was looked for and the reason it failed for, if it did.",
            ["what", "reason"],
            registry=self.registry,
        )
        self.lists = Counter(
            "modelyard_agent_lists", "Complete lists of a resource.", ["resource"], registry=self.registry
        )
        self.progress = ProgressCollector()
        self.registry.register(self.progress)
        self.subjects = Gauge("modelyard_agent_subjects", "Objects that are observed.", registry=self.registry)


class ProgressCollector(Collector):
    """What running steps say of themselves; gone when they have ended."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._said: dict[str, Mapping[str, Any]] = {}

    def show(self, run: str, said: Mapping[str, Any] | None) -> None:
        """Show what the running step of a run says, in the form of Observations; None = it says nothing any more."""
        if said is None:
            self._said.pop(run, None)
        elif run in self._said or len(self._said) < MAX_RUNS:
            self._said[run] = said

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ["run", "step"]
        share = GaugeMetricFamily(
            "modelyard_step_progress_ratio", "Share of a running step that is done.", labels=labels
        )
        value = GaugeMetricFamily(
            "modelyard_step_metric", "Newest value of a running step's metric.", labels=[*labels, "metric"]
        )
        for run, said in sorted(self._said.items()):
            if "percentage" in said:
                share.add_metric([run, said["step"]], said["percentage"] / 100)
            for metric in said.get("metrics", ()):
                value.add_metric([run, said["step"], metric["name"]], float(metric["value"]))
        yield share
        yield value
