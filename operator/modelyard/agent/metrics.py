"""The agent's metrics. Label values are few: kinds, states and reasons."""

from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector


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
        self.subjects = Gauge("modelyard_agent_subjects", "Objects that are observed.", registry=self.registry)
