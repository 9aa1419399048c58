from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from modelyard.controller.engine.manifests import name_of
from modelyard.controller.kinds.trainingrun.decide import is_finished
from tests.unit.kinds.trainingrun.builders import PINNED, PREPARE, TRAIN, spec, typed
from tests.unit.kinds.trainingrun.simulation import RUNS, SERVICES, VERSIONS, Cluster

NAMES = ("one", "two")
FAULTS = st.lists(st.sampled_from(["", "", "before", "after", "refused", "lost"]), max_size=4).map(tuple)
OUTCOMES = (*["succeed"] * 8, "lose", "delete", "exit", "oom", "StoreUnreachable", "OutputMissing")
CHECKED = [{"name": "flights", "uri": "s3://air/flights/", "expectations": {"schema": "SameAsPrevious"}}]


class RunsUnderFire(RuleBasedStateMachine):
    """Two runs of one model while writes are lost, the operator crashes, caches lag, and outputs are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.inputs: dict[str, object] = {}
        self.ended: dict[str, object] = {}

    @initialize(
        evaluated=st.booleans(),
        train=st.sampled_from([TRAIN, PINNED]),
        seeds=st.sampled_from([(0, 0), (0, 1)]),
        checked=st.booleans(),
        nodes=st.sampled_from([1, 1, 3]),
        queue=st.sampled_from(["", "", "team"]),
    )
    def start(
        self, *, evaluated: bool, train: dict[str, Any], seeds: tuple[int, int], checked: bool, nodes: int, queue: str
    ) -> None:
        changes = {**({} if evaluated else {"evaluation": None}), **({"inputs": CHECKED} if checked else {})}
        steps = [PREPARE, {**train, "numNodes": nodes}]
        for name, seed in zip(NAMES, seeds, strict=True):
            self.cluster.add_run(name, spec(steps=steps, seed=seed, **changes), queue)
        self.cluster.sync()

    @precondition(lambda self: self.cluster.queued_jobs())
    @rule(data=st.data(), admitted=st.sampled_from([True, True, False]))
    def admit(self, data: st.DataObject, *, admitted: bool) -> None:
        jobs = {name_of(job): job for job in self.cluster.queued_jobs()}
        self.cluster.admit(jobs[data.draw(st.sampled_from(sorted(jobs)))], admitted=admitted)

    @rule(names=st.sampled_from([("one",), ("two",), ("one", "two"), ("two", "one")]), faults=FAULTS)
    def reconcile(self, names: tuple[str, ...], faults: tuple[str, ...]) -> None:
        self.cluster.reconcile(*names, faults=faults)

    @rule(kind=st.sampled_from(["TrainingRun", "Job", "Pod", "Service", "ModelVersion", "Observation"]))
    def sync(self, kind: str) -> None:
        self.cluster.sync(kind)

    @rule(passes=st.integers(1, 4))
    def proceed(self, passes: int) -> None:
        """Go on for a while without faults, so that later stages are reached often."""
        self.cluster.observe_inputs()
        for _ in range(passes):
            self.cluster.sync()
            self.cluster.reconcile(*NAMES)

    @precondition(lambda self: self.cluster.runnable_jobs())
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES), faults=FAULTS)
    def end_job(self, data: st.DataObject, outcome: str, faults: tuple[str, ...]) -> None:
        jobs = {name_of(job): job for job in self.cluster.runnable_jobs()}
        self.cluster.end_job(jobs[data.draw(st.sampled_from(sorted(jobs)))], outcome)
        self.cluster.sync()
        self.cluster.reconcile(*NAMES, faults=faults)

    @rule(seconds=st.integers(0, 400))
    def wait(self, seconds: int) -> None:
        self.cluster.now += timedelta(seconds=seconds)

    @rule(name=st.sampled_from(NAMES), suspend=st.booleans())
    def suspend(self, name: str, *, suspend: bool) -> None:
        if (RUNS.kind, name) in self.cluster.api.objects:
            self.cluster.suspend(name, suspend=suspend)

    @rule()
    def restart(self) -> None:
        self.cluster.restart()

    @rule(step=st.sampled_from(["prepare", "train"]), name=st.sampled_from(NAMES), is_lost=st.booleans())
    def lose(self, step: str, name: str, *, is_lost: bool) -> None:
        """Let the store lose what a step made, or have it again."""
        steps = self.cluster.run(name).get("status", {}).get("steps", ())
        uris = {output["uri"] for s in steps if s["name"] == step for output in s.get("outputs", ())}
        self.cluster.lost = self.cluster.lost | uris if is_lost else self.cluster.lost - uris

    @invariant()
    def what_is_taken_over_was_made(self) -> None:
        """A Cached step has the outputs that another run published under the same identity."""
        runs = self.cluster.runs()
        steps = [(name_of(run), step) for run in runs for step in run.get("status", {}).get("steps", ())]
        made = [(n, s["name"], s.get("identity"), s.get("outputs")) for n, s in steps if s["state"] == "Succeeded"]
        for name, step in steps:
            if step["state"] == "Cached":
                assert step["takenFrom"] != name
                assert (step["takenFrom"], step["name"], step["identity"], step.get("outputs")) in made

    @invariant()
    def recorded_facts_stay(self) -> None:
        for run in self.cluster.runs():
            name, status = name_of(run), run.get("status", {})
            if status.get("inputs"):
                assert self.inputs.setdefault(name, status["inputs"]) == status["inputs"]
            if is_finished(typed(run)):
                end = {part: status.get(part) for part in ("steps", "modelVersionName", "completionTime")}
                assert self.ended.setdefault(name, end) == end

    @override
    def teardown(self) -> None:
        for name in NAMES:
            self.cluster.suspend(name, suspend=False)
        self.cluster.settle()
        for run in self.cluster.runs():
            assert is_finished(typed(run))
        assert self.cluster.of_kind(SERVICES.kind) == [], "a Service that no group needs"
        versions = self.cluster.of_kind(VERSIONS.kind)
        makers = {version["spec"]["lineage"]["trainingRun"]["name"] for version in versions}
        succeeded = {n for n in NAMES if self.cluster.condition(n, "Succeeded")["status"] == "True"}
        same = {n for n in succeeded if self.cluster.run(n)["status"]["steps"][-1]["state"] == "Cached"}
        assert makers == succeeded - same
        for name in succeeded:
            status = self.cluster.run(name)["status"]
            assert status["modelVersionName"] in {name_of(version) for version in versions}
        writes = self.cluster.api.writes
        self.cluster.now += timedelta(days=1)
        self.cluster.reconcile(*NAMES)
        self.cluster.restart()
        self.cluster.reconcile(*NAMES)
        assert self.cluster.api.writes == writes, "a converged run must not be written"


TestRunsUnderFire = pytest.mark.timeout(300)(RunsUnderFire.TestCase)
TestRunsUnderFire.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
