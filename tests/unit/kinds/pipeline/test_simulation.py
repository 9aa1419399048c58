from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from tests.unit.kinds.pipeline.world import World, spec

FAULTS = st.lists(st.sampled_from(["", "", "before", "after", "refused", "lost"]), max_size=3).map(tuple)
WATCHED = {"name": "delay", "namespace": "air-production", "on": ["InputsDrifted", "AccuracyLost"]}
TRIGGERS = {
    "inputs": {"names": ["flights"], "pollSeconds": 60},
    "schedule": {"cron": "30 2 * * *", "timeZone": "Europe/Berlin"},
    "deployments": [WATCHED],
}
BEFORE_SPRING = datetime.fromisoformat("2026-03-28T12:00:00+00:00")
BEFORE_AUTUMN = datetime.fromisoformat("2026-10-24T12:00:00+00:00")
DAILY_BUDGET = 6
MOST_BACK = timedelta(hours=12)


class PipelineUnderFire(RuleBasedStateMachine):
    """One Pipeline while everything changes, writes are lost, the operator crashes, caches lag and clocks jump."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0
        self.shown = ""
        self.latest = BEFORE_SPRING

    @initialize(
        now=st.sampled_from([BEFORE_SPRING, BEFORE_AUTUMN]),
        policy=st.sampled_from(["Forbid", "Replace", "Allow"]),
        cooldown=st.sampled_from([0, 1800]),
        on_change=st.sampled_from(["OnChange", "Never"]),
    )
    def start(self, now: datetime, policy: str, cooldown: int, on_change: str) -> None:
        body = spec(
            triggers={**TRIGGERS, "spec": on_change},
            concurrencyPolicy=policy,
            cooldownSeconds=cooldown,
            maxRunsPerDay=DAILY_BUDGET,
            successfulRunsHistoryLimit=3,
            failedRunsHistoryLimit=1,
        )
        self.world = World(body, now=now)

    @rule(faults=FAULTS)
    def reconcile(self, faults: tuple[str, ...]) -> None:
        self.world.reconcile(*faults)

    @rule(kind=st.sampled_from(["Pipeline", "TrainingRun", "Observation", "Deployment"]))
    def sync(self, kind: str) -> None:
        self.world.sync(kind)

    @rule()
    def proceed(self) -> None:
        """Go on for a while without faults, so that later stages are reached often."""
        self.world.observe()
        for _ in range(3):
            self.world.sync()
            self.world.reconcile()

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(content=st.integers(0, 2))
    def write_data(self, content: int) -> None:
        self.world.data["flights"] = content

    @rule(error=st.sampled_from(["", "", "StoreUnreachable"]))
    def observe(self, error: str) -> None:
        self.world.observe(error=error)

    @rule(seed=st.integers(0, 2))
    def change_template(self, seed: int) -> None:
        self.world.change_template(seed=seed)

    @rule()
    def run_now(self) -> None:
        self.tokens += 1
        self.shown = f"token-{self.tokens}"
        self.world.run_now(self.shown)

    @rule(suspend=st.booleans())
    def suspend(self, suspend: bool) -> None:
        self.world.change(suspend=suspend)

    @rule(condition=st.sampled_from(["InputsStable", "AccuracyHeld"]), status=st.sampled_from(["True", "False"]))
    def production(self, condition: str, status: str) -> None:
        self.world.production(condition, status)

    @rule(minutes=st.sampled_from([1, 20, 60, 180, 720]))
    def wait(self, minutes: int) -> None:
        self.world.wait(minutes=minutes)

    @rule(minutes=st.integers(1, 45))
    def set_clock_back(self, minutes: int) -> None:
        self.latest = max(self.latest, self.world.now)
        if self.latest - self.world.now < MOST_BACK:
            self.world.wait(minutes=-minutes)

    @precondition(lambda self: self.world.active())
    @rule(data=st.data())
    def resolve_run(self, data: st.DataObject) -> None:
        self.world.resolve(data.draw(st.sampled_from(self.world.active())))

    @precondition(lambda self: self.world.active())
    @rule(data=st.data(), outcome=st.sampled_from(["succeed", "fail", "vanish"]))
    def end_run(self, data: st.DataObject, outcome: str) -> None:
        name = data.draw(st.sampled_from(self.world.active()))
        if outcome == "vanish" and name not in {run["name"] for run in self.world.status.get("recentRuns", ())}:
            outcome = "fail"  # nobody can tell a run that was deleted at once from one that was never made
        if outcome == "vanish":
            self.world.delete_run(name)
        else:
            self.world.resolve(name)
            self.world.end(name, succeeded=outcome == "succeed")

    @invariant()
    def no_cause_makes_two_runs(self) -> None:
        runs = self.world.made
        causes = Counter(
            (cause["source"], cause["key"])
            for run in runs
            for cause in run["spec"]["trigger"]["evidence"]
            if cause["source"] in {"manual", "schedule"} or cause["source"].startswith("deployments/")
        )
        assert not [cause for cause, count in causes.items() if count > 1]

    @invariant()
    def forbid_means_one(self) -> None:
        if self.world.pipeline["spec"]["concurrencyPolicy"] == "Forbid":
            assert len(self.world.active()) <= 1

    @override
    def teardown(self) -> None:
        world = self.world
        world.change(suspend=False)
        for _ in range(6):
            self._calm_hours()
        self._assert_nothing_is_lost()
        writes = world.api.writes
        world.restart()
        world.reconcile()
        assert world.api.writes == writes, "a converged Pipeline must not be written"

    def _calm_hours(self) -> None:
        """Let the agent look, runs end, and time go on, for long enough that no cooldown and no budget holds."""
        self.world.observe()
        self.world.settle()
        for name in self.world.active():
            self.world.resolve(name)
            self.world.end(name)
        self.world.settle()
        self.world.wait(hours=11)
        self.world.observe()
        self.world.settle()
        for name in self.world.active():
            self.world.resolve(name)
            self.world.end(name)
        self.world.settle()

    def _assert_nothing_is_lost(self) -> None:
        world = self.world
        evidence = [cause for run in world.made for cause in run["spec"]["trigger"]["evidence"]]
        if self.shown:
            assert self.shown in {cause["key"] for cause in evidence}
        newest = world.made[-1]
        assert newest["spec"]["inputs"] == world.pipeline["spec"]["template"]["spec"]["inputs"]
        if world.pipeline["spec"]["triggers"]["spec"] == "OnChange":
            assert newest["spec"].get("seed", 0) == world.pipeline["spec"]["template"]["spec"].get("seed", 0)
        (flights,) = world.status["inputs"]
        assert flights["trainedDigest"] == flights["digest"] == world.digest("flights")
        for deployment in world.of_kind("Deployment"):
            self._assert_heard(deployment, evidence)
        assert timedelta(0) < datetime.fromisoformat(world.status["nextScheduleTime"]) - world.now < timedelta(hours=26)

    def _assert_heard(self, deployment: dict[str, Any], evidence: list[dict[str, Any]]) -> None:
        for condition in deployment["status"]["conditions"]:
            if condition["status"] == "False":
                assert any(cause["key"].endswith(condition["lastTransitionTime"]) for cause in evidence)


TestPipelineUnderFire = pytest.mark.timeout(300)(PipelineUnderFire.TestCase)
TestPipelineUnderFire.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
