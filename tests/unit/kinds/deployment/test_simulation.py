from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from typing_extensions import override

from modelyard.api.v1alpha1.names import LABEL_REVISION
from tests.unit.kinds.deployment.world import World

NUMBERS = st.sampled_from([1, 2, 3])


class Rollouts(RuleBasedStateMachine):
    """People, time, pods and crashes in any order: traffic never moves to where nothing is ready."""

    world: World

    @initialize(size=st.integers(0, 3), limit=st.integers(0, 2))
    def start(self, size: int, limit: int) -> None:
        self.world = World()
        self.world.ask(endpoint={"replicas": size}, rollout={"revisionHistoryLimit": limit})

    @rule(number=NUMBERS)
    def want(self, number: int) -> None:
        self.world.want(number)

    @rule()
    def follow_the_champion(self) -> None:
        self.world.ask(model={"alias": "champion"})
        self.world.spec["model"].pop("version", None)

    @rule(size=st.integers(0, 3))
    def scale(self, size: int) -> None:
        self.world.ask(endpoint={"replicas": size})

    @rule(seconds=st.sampled_from([5, 10]))
    def change_behaviour(self, seconds: int) -> None:
        self.world.ask(endpoint={"timeoutSeconds": seconds})

    @rule(memory=st.sampled_from(["1Gi", "2Gi"]))
    def change_resources(self, memory: str) -> None:
        self.world.ask(endpoint={"resources": {"limits": {"memory": memory}}})

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.world.ask(rollout={"paused": paused})

    @rule(number=NUMBERS)
    def retire(self, number: int) -> None:
        self.world.retire(number)

    @rule(number=NUMBERS)
    def unretire(self, number: int) -> None:
        self.world.versions[number]["spec"].pop("retired", None)

    @rule(number=NUMBERS)
    def lose_artifact(self, number: int) -> None:
        self.world.lose_artifact(number)

    @rule(number=NUMBERS)
    def find_artifact(self, number: int) -> None:
        self.world.versions[number].pop("status", None)

    @rule(data=st.data())
    def break_revision(self, data: st.DataObject) -> None:
        known = sorted(w["metadata"]["labels"][LABEL_REVISION] for w in self.world.workloads.values())
        if known:
            self.world.broken.add(data.draw(st.sampled_from(known)))

    @rule()
    def mend(self) -> None:
        self.world.broken.clear()

    @rule(seconds=st.sampled_from([1, 4, 10, 700]))
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    @rule()
    def run_pods(self) -> None:
        self.world.run_pods()

    @rule(writes=st.integers(0, 8))
    def crash_in_a_pass(self, writes: int) -> None:
        self._watched(lambda: self.world.reconcile(until=writes))

    @rule()
    def make_a_pass(self) -> None:
        self._watched(self.world.reconcile)
        world = self.world
        assert world.reconcile() == 0, "a second pass wrote something"
        if world.status.get("model"):
            assert (
                world.workloads[f"delay-{world.selected()}"]["spec"]["replicas"] == world.spec["endpoint"]["replicas"]
            )
        known = {world.selected(), world.status.get("candidate", {}).get("revision"), *self._draining()}
        with_pods = {w["metadata"]["labels"][LABEL_REVISION] for w in world.workloads.values() if w["spec"]["replicas"]}
        assert with_pods <= known, "a revision that neither serves, nor is the candidate, nor drains has pods"

    def _draining(self) -> set[str]:
        """Revisions that served up to ten seconds ago."""
        history = self.world.status.get("history", [])
        oldest = self.world.now - timedelta(seconds=10)
        ended = {old["revision"]: datetime.fromisoformat(new["fromTime"]) for old, new in pairwise(reversed(history))}
        return {revision for revision, time in ended.items() if time > oldest}

    def _watched(self, act: Callable[[], object]) -> None:
        world = self.world
        before, was_ready = world.selected(), world.ready(world.selected())
        act()
        after = world.selected()
        if after != before and was_ready and world.spec["endpoint"]["replicas"]:
            assert world.ready(after), "traffic went to a revision without ready pods"

    @override
    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.broken.clear()
        world.ask(rollout={"paused": False})
        world.settle(rounds=200)
        model, status = world.spec["model"], world.status
        assert world.candidate is None
        if model.get("version") and world.condition("ModelResolved") == ("True", "Resolved"):
            assert world.serving == model["version"]
            assert world.condition("Ready")[0] == "True"  # type: ignore[index]
        served = [w for w in world.workloads.values() if w["spec"]["replicas"]]
        assert len(served) <= 1
        assert len(world.workloads) <= 1 + world.spec["rollout"]["revisionHistoryLimit"]
        assert len(status["history"]) <= 20


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
