from datetime import timedelta

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from modelyard.controller.engine.manifests import name_of
from modelyard.controller.kinds.trainingrun.decide import is_finished
from tests.unit.kinds.trainingrun.builders import TRAIN, spec, typed
from tests.unit.kinds.trainingrun.simulation import JOBS, RUNS, VERSIONS, Cluster

NAMES = ("one", "two")
FAULTS = st.lists(st.sampled_from(["", "", "before", "after", "refused", "lost"]), max_size=4).map(tuple)
OUTCOMES = (*["succeed"] * 8, "lose", "exit", "oom", "StoreUnreachable", "OutputMissing")


class RunsUnderFire(RuleBasedStateMachine):
    """Two runs of one model while writes are lost, the operator crashes, and caches lag."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.inputs: dict[str, object] = {}
        self.ended: dict[str, object] = {}

    @initialize(evaluated=st.booleans())
    def start(self, *, evaluated: bool) -> None:
        for name in NAMES:
            self.cluster.add_run(name, spec() if evaluated else spec(evaluation=None))
        self.cluster.sync()

    @rule(names=st.sampled_from([("one",), ("two",), ("one", "two"), ("two", "one")]), faults=FAULTS)
    def reconcile(self, names: tuple[str, ...], faults: tuple[str, ...]) -> None:
        self.cluster.reconcile(*names, faults=faults)

    @rule(kind=st.sampled_from(["TrainingRun", "Job", "Pod", "ModelVersion", "Observation"]))
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
        versions = self.cluster.of_kind(VERSIONS.kind)
        makers = {version["spec"]["lineage"]["trainingRun"]["name"] for version in versions}
        succeeded = {n for n in NAMES if self.cluster.condition(n, "Succeeded")["status"] == "True"}
        assert makers == succeeded
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
    max_examples=400, stateful_step_count=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


def test_a_run_publishes_one_version() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec())
    cluster.settle()
    ready = cluster.condition("one", "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Succeeded")
    assert [name_of(job) for job in cluster.of_kind(JOBS.kind)] == ["one-prepare-1", "one-train-1", "one-register-1"]
    assert [name_of(version) for version in cluster.of_kind(VERSIONS.kind)] == ["flight-delay-v1"]
    assert [event.reason for event in cluster.recorder.events] == [
        "StepStarted",
        "StepSucceeded",
        "StepStarted",
        "StepSucceeded",
        "StepStarted",
        "ModelVersionPublished",
        "RunSucceeded",
    ]


def test_a_second_run_is_judged_against_the_first() -> None:
    cluster = Cluster()
    for name in ("one", "two"):
        cluster.add_run(name, spec())
        cluster.settle()
    second = cluster.api.objects[VERSIONS.kind, "flight-delay-v2"]["spec"]
    first = cluster.api.objects[VERSIONS.kind, "flight-delay-v1"]["spec"]
    assert second["evaluation"]["champion"]["digest"] == first["artifact"]["digest"]
    assert second["lineage"]["previousVersion"] == 1


def test_two_runs_that_end_at_once_are_judged_one_after_the_other() -> None:
    cluster = Cluster()
    for name in NAMES:
        cluster.add_run(name, spec())
    cluster.settle()
    verdicts = {name_of(v): v["spec"]["evaluation"]["verdict"] for v in cluster.of_kind(VERSIONS.kind)}
    assert sorted(verdicts.values()) == ["BetterThanChampion", "FirstVersion"]
    jobs = {name_of(job) for job in cluster.of_kind(JOBS.kind)}
    assert {"one-register-1", "two-register-1"} < jobs
    assert jobs & {"one-register-2", "two-register-2"}, "the later one must be judged again"


def test_a_number_that_somebody_took_is_given_up() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec())
    while "modelVersionName" not in cluster.api.objects.get((RUNS.kind, "one"), {}).get("status", {}):
        cluster.observe_inputs()
        for job in cluster.runnable_jobs():
            cluster.end_job(job, "succeed")
        cluster.sync()
        cluster.reconcile("one")
    cluster.add_version(1)
    cluster.settle()
    assert cluster.run("one")["status"]["modelVersionName"] == "flight-delay-v2"
    record = cluster.api.objects[VERSIONS.kind, "flight-delay-v2"]["spec"]
    assert record["version"] == 2


def test_a_run_without_a_model_registers_nothing() -> None:
    cluster = Cluster()
    steps = [{**TRAIN, "inputs": ["flights"], "outputs": ["report"]}]
    cluster.add_run("one", spec(steps=steps, evaluation=None))
    cluster.settle()
    assert cluster.condition("one", "Succeeded")["status"] == "True"
    assert not cluster.of_kind(VERSIONS.kind)
    assert "modelVersionName" not in cluster.run("one")["status"]
