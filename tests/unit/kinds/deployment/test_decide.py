import pytest

from modelyard.controller.kinds.deployment.decide import decide
from tests.unit.kinds.deployment.world import World, digest, version


def serving(number: int, **changes: object) -> World:
    """A world in which a version has been rolled out and everything is quiet."""
    world = World()
    world.ask(**changes)
    world.want(number)
    world.settle()
    assert world.serving == number
    return world


def test_first_version_gets_a_service_at_once_and_serves_when_ready() -> None:
    world = World()
    world.reconcile()
    assert world.selected() == world.status["candidate"]["revision"]
    assert world.condition("Available") == ("False", "NoReadyReplicas")
    assert world.condition("RolledOut") == ("False", "Progressing")
    assert world.condition("Reconciling") == ("True", "Progressing")
    world.settle()
    assert (world.serving, world.candidate) == (1, None)
    assert world.condition("Ready") == ("True", "Serving")
    assert world.condition("Reconciling") is None
    assert world.status["url"] == "http://delay.air.svc"
    assert world.status["selector"] == f"modelyard.dev/deployment=delay,modelyard.dev/revision={world.selected()}"
    assert world.reasons() == ["RolloutStarted", "RolledOut"]


def test_new_version_takes_traffic_only_when_all_its_pods_are_ready() -> None:
    world = serving(1, endpoint={"replicas": 2})
    old = world.selected()
    world.want(2)
    world.reconcile()
    assert (world.selected(), world.serving, world.candidate) == (old, 1, 2)
    assert world.sizes() == {1: 2, 2: 2}
    world.run_pods()
    world.reconcile()
    assert world.selected() == old
    world.run_pods()
    world.reconcile()
    assert (world.serving, world.candidate) == (2, None)
    assert world.selected() != old


def test_old_revision_keeps_its_pods_for_the_drain_delay_only() -> None:
    world = serving(1)
    world.want(2)
    world.reconcile()
    world.run_pods()
    world.reconcile()
    assert world.serving == 2
    assert decide(world.observe()).requeue_after == 10
    world.wait(9)
    world.reconcile()
    assert world.sizes() == {1: 1, 2: 1}
    world.wait(1)
    world.reconcile()
    assert world.sizes() == {1: 0, 2: 1}
    assert decide(world.observe()).requeue_after is None


def test_history_limit_keeps_the_newest_old_revisions() -> None:
    world = serving(1, rollout={"revisionHistoryLimit": 1})
    for number in (2, 3):
        world.want(number)
        world.settle()
    assert world.sizes() == {2: 0, 3: 1}
    assert [entry["version"] for entry in world.status["history"]] == [3, 2, 1]


def test_going_back_uses_the_kept_revision_again() -> None:
    world = serving(1)
    first = world.selected()
    world.want(2)
    world.settle()
    world.want(1)
    world.settle()
    assert world.selected() == first
    assert [entry["version"] for entry in world.status["history"]] == [1, 2, 1]
    assert world.sizes() == {1: 1, 2: 0}


def test_change_of_mind_abandons_the_candidate() -> None:
    world = serving(1)
    world.want(2)
    world.reconcile()
    world.want(3)
    world.reconcile()
    assert (world.candidate, world.sizes()) == (3, {1: 1, 3: 1})
    world.want(1)
    world.reconcile()
    assert (world.candidate, world.sizes()) == (None, {1: 1})
    assert world.condition("Ready") == ("True", "Serving")


def test_candidate_that_is_not_ready_in_time_is_stuck_and_recovers() -> None:
    world = serving(1, rollout={"progressDeadlineSeconds": 60})
    world.want(2)
    world.reconcile()
    candidate = world.status["candidate"]["revision"]
    world.broken.add(candidate)
    world.run_pods()
    world.reconcile()
    assert world.condition("RolledOut") == ("False", "GoldenMismatch")
    assert world.condition("Reconciling") == ("True", "GoldenMismatch")
    assert world.condition("Ready") == ("False", "GoldenMismatch")
    assert "example 0 differs" in world.message("Ready")
    assert decide(world.observe()).requeue_after == 60
    world.wait(60)
    world.reconcile()
    assert world.condition("RolledOut") == ("False", "ProgressDeadlineExceeded")
    assert world.condition("Stalled") == ("True", "ProgressDeadlineExceeded")
    assert world.condition("Available") == ("True", "Serving")
    assert world.serving == 1
    assert world.reasons().count("RolloutStuck") == 1
    world.broken.clear()
    world.settle()
    assert world.serving == 2
    assert world.condition("Stalled") is None


def test_candidate_takes_over_at_once_when_nothing_serves() -> None:
    world = serving(1, endpoint={"replicas": 3})
    world.broken.add(str(world.selected()))
    world.fail_pods()
    world.want(2)
    world.reconcile()
    world.run_pods()
    world.reconcile()
    assert (world.serving, world.ready(world.selected())) == (2, 1)
    assert world.condition("RolledOut") == ("False", "Progressing")


@pytest.mark.parametrize(
    ("model", "condition", "text"),
    [
        ({"version": 9}, ("False", "VersionNotFound"), "newest versions: 3, 2, 1"),
        ({"version": 2, "digest": digest(5)}, ("False", "DigestMismatch"), "`spec.model.digest`"),
        ({"name": "other", "alias": "champion"}, ("False", "NoChampion"), "'other'"),
    ],
)
def test_unresolved_reference_leaves_what_serves_alone(
    model: dict[str, object], condition: tuple[str, str], text: str
) -> None:
    world = serving(1)
    world.spec["model"] = {"name": "delay", **model}
    world.settle()
    assert world.serving == 1
    assert world.condition("ModelResolved") == condition
    assert world.condition("Ready") == condition
    assert text in world.message("Ready")
    assert "serving version 1, because" in world.message("Ready")
    assert world.sizes() == {1: 1}


def test_unresolved_reference_makes_no_children() -> None:
    world = World()
    world.want(9)
    world.reconcile()
    assert (world.service, world.workloads) == (None, {})
    assert world.condition("RolledOut") == ("Unknown", "VersionNotFound")
    assert world.condition("Available") == ("False", "NoReadyReplicas")
    world.versions[9] = version(9)
    world.settle()
    assert world.serving == 9


def test_alias_follows_the_champion() -> None:
    world = World()
    world.versions[3] = version(3, verdict="NotBetter")
    world.spec["model"] = {"name": "delay", "alias": "champion"}
    world.settle()
    assert (world.serving, world.status["wanted"]) == (2, 2)
    world.versions[4] = version(4)
    world.settle()
    assert world.serving == 4
    assert world.status["history"][0]["reason"] == "it is the champion"


def test_missing_artifact_stops_a_new_rollout_but_not_what_serves() -> None:
    world = serving(1)
    world.lose_artifact(1)
    world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    world.lose_artifact(2)
    world.want(2)
    world.settle()
    assert (world.serving, world.sizes()) == (1, {1: 1})
    assert world.condition("ModelResolved") == ("False", "ArtifactUnavailable")
    assert world.condition("Stalled") == ("True", "ArtifactUnavailable")


@pytest.mark.parametrize(
    ("status", "reason", "resolved", "stalled"),
    [
        ("Unknown", "Converting", "Converting", False),
        ("False", "NotConvertible", "NotConverted", True),
    ],
)
def test_pickle_is_not_served_before_it_is_converted(status: str, reason: str, resolved: str, *, stalled: bool) -> None:
    world = serving(1)
    world.pickle(2, status, reason)
    world.want(2)
    world.settle()
    assert (world.serving, world.sizes()) == (1, {1: 1})
    assert world.condition("ModelResolved") == ("False", resolved)
    assert f"{reason}: so it stands" in world.message("Ready")
    assert (world.condition("Stalled") == ("True", resolved)) is stalled
    world.pickle(2, "True", "Converted")
    world.settle()
    assert world.serving == 2


def test_pickle_is_served_by_its_onnx_form_and_fallen_back_to_by_it() -> None:
    world = World()
    world.pickle(1, "True", "Converted")
    world.want(1)
    world.settle()
    assert world.status["model"]["digest"] == digest(1001)
    (workload,) = world.workloads.values()
    fetch = workload["spec"]["template"]["spec"]["initContainers"][0]
    sources = next(v["value"] for v in fetch["env"] if v["name"] == "MODELYARD_SOURCES")
    assert digest(1001) in sources
    assert digest(1) not in sources
    world.want(2)
    world.settle()
    world.retire(2)
    world.settle()
    assert (world.serving, world.status["model"]["digest"]) == (1, digest(1001))


def test_lost_conversion_leaves_what_serves_alone() -> None:
    """A restored backup has no status; the pickle is converted anew meanwhile."""
    world = World()
    world.pickle(1, "True", "Converted")
    world.want(1)
    world.settle()
    world.pickle(1, "Unknown", "Converting")
    world.settle()
    assert (world.serving, world.sizes()) == (1, {1: 1})


def test_retired_version_falls_back_to_the_newest_that_served_and_may() -> None:
    world = serving(1)
    for number in (2, 3):
        world.want(number)
        world.settle()
    world.retire(3)
    world.retire(2)
    world.settle()
    assert world.serving == 1
    assert world.condition("Ready") == ("False", "Retired")
    assert world.message("Ready") == (
        "asked for version 3, serving version 1, because version 3 is retired: bad on Mondays"
    )
    assert world.condition("RolledOut") == ("True", "Completed")
    assert world.condition("Available") == ("True", "Serving")
    assert world.reasons()[-2:] == ["FellBack", "RolledOut"]
    assert world.status["wanted"] == 3
    assert "fell back from version 3" in world.status["history"][0]["reason"]


def test_retired_version_without_another_goes_on_serving() -> None:
    world = serving(1)
    world.retire(1)
    world.settle()
    assert (world.serving, world.sizes()) == (1, {1: 1})
    assert world.condition("Ready") == ("False", "Retired")
    assert world.condition("Stalled") == ("True", "Retired")


def test_retired_version_falls_back_although_paused() -> None:
    world = serving(1)
    world.want(2)
    world.settle()
    world.ask(rollout={"paused": True})
    world.retire(2)
    world.settle()
    assert world.serving == 1


def test_fallback_ends_when_the_version_is_not_retired_any_more() -> None:
    world = serving(1)
    world.want(2)
    world.settle()
    world.retire(2)
    world.reconcile()
    assert world.candidate == 1
    del world.versions[2]["spec"]["retired"]
    world.settle()
    assert world.serving == 2
    assert world.candidate is None
    assert world.condition("Ready") == ("True", "Serving")


def test_paused_rollout_starts_no_revision_and_finishes_one_that_is_started() -> None:
    world = serving(1)
    world.ask(rollout={"paused": True})
    world.want(2)
    world.settle()
    assert (world.serving, world.sizes()) == (1, {1: 1})
    assert world.condition("RolledOut") == ("Unknown", "Paused")
    assert world.condition("ModelResolved") == ("True", "Resolved")
    assert world.condition("Ready") == ("False", "Paused")
    world.ask(rollout={"paused": False})
    world.reconcile()
    world.ask(rollout={"paused": True})
    world.settle()
    assert world.serving == 2
    assert world.condition("Ready") == ("True", "Serving")


def test_scale_and_resources_change_the_serving_revision_in_place() -> None:
    world = serving(1)
    revision = world.selected()
    world.ask(endpoint={"replicas": 3, "resources": {"limits": {"memory": "1Gi"}}})
    world.reconcile()
    assert world.condition("RolledOut") == ("False", "Progressing")
    world.settle()
    assert (world.selected(), world.ready(revision)) == (revision, 3)
    assert (world.status["replicas"], world.status["readyReplicas"]) == (3, 3)
    assert len(world.status["history"]) == 1


def test_grpc_is_added_to_the_serving_revision_in_place() -> None:
    world = serving(1)
    revision = world.selected()
    world.ask(endpoint={"protocols": ["REST", "GRPC"]})
    world.settle()
    assert world.selected() == revision
    assert _ports(world) == [80, 9000]
    assert len(world.status["history"]) == 1


def test_service_changes_to_tls_when_the_revision_that_speaks_it_takes_over() -> None:
    world = serving(1)
    old = world.selected()
    world.ask(endpoint={"tls": {"secretName": "delay-tls"}})
    world.reconcile()
    assert (world.selected(), _ports(world)) == (old, [80])
    assert world.status["url"] == "http://delay.air.svc"
    world.settle()
    assert world.selected() != old
    assert _ports(world) == [443]
    assert world.status["url"] == "https://delay.air.svc"


def _ports(world: World) -> list[int]:
    assert world.service is not None
    return [port["port"] for port in world.service["spec"]["ports"]]


def test_scale_changes_the_serving_revision_while_a_candidate_is_stuck() -> None:
    world = serving(1)
    world.want(2)
    world.reconcile()
    world.broken.add(world.status["candidate"]["revision"])
    world.ask(endpoint={"replicas": 2})
    world.settle()
    assert (world.serving, world.ready(world.selected())) == (1, 2)


def test_behaviour_change_makes_a_new_revision_and_keeps_the_old_one_as_it_was() -> None:
    world = serving(1)
    old = world.selected()
    world.ask(endpoint={"timeoutSeconds": 30})
    before = world.workloads[f"delay-{old}"]["spec"]["template"]
    world.reconcile()
    assert world.workloads[f"delay-{old}"]["spec"]["template"] == before
    world.settle()
    assert world.selected() != old
    assert world.status["history"][0]["reason"] == "the settings of the endpoint changed"


def test_operator_upgrade_restarts_nothing() -> None:
    world = serving(1)
    world.operator_image = "server:2"
    assert world.reconcile() == 0
    world.want(2)
    world.settle()
    assert (
        world.workloads[f"delay-{world.selected()}"]["spec"]["template"]["spec"]["containers"][0]["image"] == "server:1"
    )
    world.ask(endpoint={"runtimeVersion": "3"})
    world.settle()
    assert (
        world.workloads[f"delay-{world.selected()}"]["spec"]["template"]["spec"]["containers"][0]["image"] == "server:3"
    )


def test_scaled_to_zero_is_ready_and_says_that_nothing_serves() -> None:
    world = serving(1, endpoint={"replicas": 0})
    assert world.condition("Available") == ("False", "ScaledToZero")
    assert world.condition("Ready") == ("True", "ScaledToZero")


def test_all_pods_gone_is_not_available_and_names_the_problem() -> None:
    world = serving(1)
    world.broken.add(str(world.selected()))
    world.run_pods()
    world.reconcile()
    assert world.condition("Available") == ("False", "NoReadyReplicas")
    assert world.condition("RolledOut") == ("True", "Completed")
    assert "example 0 differs" in world.message("Ready")
    assert world.reasons()[-1] == "RolledOut"


def test_refused_pods_are_reported() -> None:
    world = World()
    world.reconcile()
    for workload in world.workloads.values():
        refusal = {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": "exceeded quota: gpu",
        }
        workload["status"] = {"conditions": [refusal]}
    world.reconcile()
    assert world.condition("RolledOut") == ("False", "PodRefused")
    assert "exceeded quota: gpu" in world.message("Ready")


def test_deleted_workload_of_the_serving_revision_is_made_again() -> None:
    world = serving(1)
    world.want(9)
    world.settle()
    world.workloads.clear()
    world.pods.clear()
    world.settle()
    assert (world.serving, world.ready(world.selected())) == (1, 1)


def test_lost_status_finds_what_serves() -> None:
    world = serving(1)
    world.status = {}
    world.want(2)
    world.reconcile()
    assert (world.serving, world.candidate) == (1, 2)
    assert world.status["history"][0]["reason"] == "it was found serving"


def test_workload_that_cannot_be_rebuilt_is_left_alone_while_it_serves() -> None:
    world = serving(1)
    (workload,) = world.workloads.values()
    workload["metadata"]["annotations"]["modelyard.dev/revision-inputs"] = '{"from": "the future"}'
    world.want(9)
    world.settle()
    assert (world.serving, world.sizes()) == (1, {1: 1})
