from modelyard.controller.engine.manifests import name_of
from tests.unit.kinds.trainingrun.builders import TRAIN, spec
from tests.unit.kinds.trainingrun.simulation import JOBS, RUNS, VERSIONS, Cluster, digest

NAMES = ("one", "two")


def both_registering() -> Cluster:
    """A cluster with two runs of one model, both in their last step, with the numbers 1 and 2."""
    cluster = Cluster()
    for name in NAMES:
        cluster.add_run(name, spec())
    while len([job for job in cluster.runnable_jobs() if "register" in name_of(job)]) < len(NAMES):
        cluster.observe_inputs()
        for job in cluster.runnable_jobs():
            if "register" not in name_of(job):
                cluster.end_job(job, "succeed")
        cluster.sync()
        cluster.reconcile(*NAMES)
    return cluster


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
    cluster = both_registering()
    for job in cluster.runnable_jobs():
        cluster.end_job(job, "succeed")
    cluster.settle()
    verdicts = {name_of(v): v["spec"]["evaluation"]["verdict"] for v in cluster.of_kind(VERSIONS.kind)}
    assert sorted(verdicts.values()) == ["BetterThanChampion", "FirstVersion"]
    jobs = {name_of(job) for job in cluster.of_kind(JOBS.kind)}
    assert {"one-register-1", "two-register-1"} < jobs
    assert jobs & {"one-register-2", "two-register-2"}, "the later one must be judged again"


def test_a_version_that_comes_later_gets_a_higher_number() -> None:
    cluster = both_registering()
    reserved = {cluster.run(name)["status"]["modelVersionName"]: name for name in NAMES}
    late, early = reserved["flight-delay-v1"], reserved["flight-delay-v2"]
    cluster.end_job(next(j for j in cluster.runnable_jobs() if name_of(j) == f"{early}-register-1"), "succeed")
    for _ in range(4):
        cluster.sync()
        cluster.reconcile(early)
    assert [name_of(version) for version in cluster.of_kind(VERSIONS.kind)] == ["flight-delay-v2"]
    cluster.settle()
    assert cluster.run(late)["status"]["modelVersionName"] == "flight-delay-v3"
    assert cluster.api.objects[VERSIONS.kind, "flight-delay-v3"]["spec"]["version"] == 3


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


def test_metrics_keep_the_newest_value_of_each_name() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec())
    cluster.settle()
    assert cluster.run("one")["status"]["metrics"] == [{"name": "loss", "value": "5", "step": "train"}]


def test_lineage_names_images_and_inputs() -> None:
    cluster = Cluster()
    cluster.add_run("one", spec())
    cluster.settle()
    lineage = cluster.api.objects[VERSIONS.kind, "flight-delay-v1"]["spec"]["lineage"]
    assert lineage["trainingRun"]["name"] == "one"
    assert [code["step"] for code in lineage["code"]] == ["prepare", "train"]
    assert lineage["code"][1]["image"] == f"example.com/train@{digest('example.com/train:1')}"
    assert lineage["inputs"][0]["digest"] == digest("input", "flights")
