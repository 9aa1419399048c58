"""What a step gets on a laptop is what its pod would get: held against the operator's manifests."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.trainingrun import Component, EvaluationSpec, Step
from modelyard.controller.kinds import attempts
from modelyard.controller.kinds.pods import TAKEN_AWAY
from modelyard.controller.kinds.trainingrun.children import build_register_job, build_step_job
from modelyard.handover import parameters_document, register_sources, step_sources
from modelyard.local import plan
from modelyard.local.manifest import RunError
from modelyard.local.plan import Folders, Runner
from tests.unit.kinds.trainingrun.builders import PREPARE
from tests.unit.kinds.trainingrun.test_children import TRAIN, champion, trained

IN_POD = Folders(plan.INPUTS_DIR, plan.WORK_DIR)
OBSERVED = trained()
RUN = OBSERVED.run
STEPS = {step.name: step for step in RUN.spec.steps}


def containers(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    pod = job["spec"]["template"]["spec"]
    return {container["name"]: container for container in (*pod["initContainers"], *pod["containers"])}


def variables(container: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable in container["env"]:
        found[variable["name"]] = plan.expand(variable["value"], found)
    return found


@pytest.mark.parametrize("name", STEPS)
def test_user_code_has_the_environment_of_its_pod(name: str) -> None:
    container = containers(build_step_job(OBSERVED, STEPS[name], 1))["run"]
    assert plan.user_environment(RUN, STEPS[name], IN_POD, {}) == variables(container)


@pytest.mark.parametrize("component", Component)
def test_built_in_steps_run_the_same_program(component: Component) -> None:
    step = Step(name="s", uses=component)
    container = containers(build_step_job(OBSERVED, step, 1))["run"]
    assert plan.user_command(step, "python", {}) == container["command"]


@pytest.mark.parametrize("name", STEPS)
def test_fetch_gets_the_same_sources_and_parameters(name: str) -> None:
    fetch = variables(containers(build_step_job(OBSERVED, STEPS[name], 1))["fetch"])
    sources = step_sources(RUN, STEPS[name], champion())
    assert sources == json.loads(fetch["MODELYARD_SOURCES"])
    assert parameters_document(RUN, name) == fetch["MODELYARD_PARAMETERS"]


@pytest.mark.parametrize(
    "evaluation", [None, OBSERVED.run.spec.evaluation, {"by": "Step", "metric": "ndcg", "goal": "Maximize"}]
)
def test_register_gets_the_same_record_run_evaluation_and_sources(evaluation: Any) -> None:
    observed = trained(evaluation=as_json(evaluation) if isinstance(evaluation, EvaluationSpec) else evaluation)
    job = containers(build_register_job(observed, 7, 1))
    told = plan.register_environment(observed.run, 7, champion=champion(), scored=champion())
    of_pod = {"MODELYARD_INPUTS_DIR", "MODELYARD_RUN_UID", "MODELYARD_STEP", "MODELYARD_ATTEMPT"}
    assert told == {name: value for name, value in variables(job["register"]).items() if name not in of_pod}
    sources = json.loads(variables(job["fetch"])["MODELYARD_SOURCES"])
    assert register_sources(observed.run, champion()) == sources


def test_what_the_operator_does_not_try_again_is_not_tried_again_here() -> None:
    assert plan.FINAL == attempts.INCURABLE | (attempts.BLAMELESS - TAKEN_AWAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)b", "xb"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$$$(A)", "$x"),
    ],
)
def test_references_are_expanded_as_in_kubernetes(text: str, expected: str) -> None:
    assert plan.expand(text, {"A": "x"}) == expected


@given(st.text(alphabet="$()Ab"))
def test_any_text_survives_escaping_and_expansion(text: str) -> None:
    assert plan.expand(text.replace("$", "$$"), {"A": "x"}) == text


def test_a_container_sees_only_its_folders_and_its_environment() -> None:
    step = STEPS["train"]
    here = Folders("/store/in", "/store/work")
    command = plan.container_command(
        step, ["python", "train.py", "--fast"], {"A": "x y"}, here, engine="podman", name="n", user="1:2"
    )
    assert command[:2] == ["podman", "run"]
    assert command[-3:] == ["example.com/team/train:9", "train.py", "--fast"]
    options = " ".join(command)
    assert "--volume /store/in:/modelyard/inputs:ro --volume /store/work:/modelyard/work" in options
    assert "--env A=x y --workdir /src --entrypoint python" in options
    assert "--user 1:2 --security-opt no-new-privileges --cap-drop ALL" in options


def test_an_image_without_a_command_runs_its_own_entrypoint() -> None:
    step = Step(name="s", image="i", args=("--fast",))
    command = plan.container_command(
        step, plan.user_command(step, "python", {}), {}, IN_POD, engine="docker", name="n", user="1:1"
    )
    assert "--entrypoint" not in command
    assert command[-2:] == ["i", "--fast"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "s", "image": "i"}, r"spec.steps\[0\].command: must be set"),
        ({"name": "s", "image": "i", "command": ["a"], "workingDir": "/no/such"}, r"spec.steps\[0\].workingDir"),
    ],
)
def test_what_a_process_cannot_do_is_refused_by_name(step: dict[str, Any], message: str) -> None:
    run = trained(steps=[step]).run
    with pytest.raises(RunError, match=message):
        plan.check_steps(run, Runner.PROCESS, Path("/project"))
    plan.check_steps(run, Runner.CONTAINER, Path("/project"))


@pytest.mark.parametrize("runner", Runner)
def test_secrets_of_a_cluster_are_not_left_out_silently(runner: Runner) -> None:
    step = {"name": "s", "image": "i", "command": ["a"], "envFrom": [{"secretRef": {"name": "modelyard-step-x"}}]}
    with pytest.raises(RunError, match=r"spec.steps\[0\].envFrom: there are no Secrets"):
        plan.check_steps(trained(steps=[step]).run, runner, Path("/project"))


@pytest.mark.parametrize("runner", Runner)
def test_a_group_of_nodes_is_refused_on_one(runner: Runner) -> None:
    step = {"name": "s", "image": "i", "command": ["a"], "numNodes": 4}
    with pytest.raises(RunError, match=r"spec.steps\[0\].numNodes: must be 1"):
        plan.check_steps(trained(steps=[step]).run, runner, Path("/project"))


def test_what_is_not_done_here_is_said() -> None:
    steps = [PREPARE, {**TRAIN, "checkpoint": {}}]
    said = " ".join(plan.remarks(trained(suspend=True, steps=steps).run, Runner.PROCESS))
    for part in (
        "spec.suspend is not heeded",
        "resources of train are not",
        "checkpoints of train are not",
        "train: run in this Python environment",
    ):
        assert part in said
    assert list(plan.remarks(trained(steps=[PREPARE]).run, Runner.PROCESS)) == []


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (1000, 30.0)])
def test_delays_double_up_to_a_bound(failures: int, seconds: float) -> None:
    assert plan.retry_delay(failures) == seconds


@pytest.mark.parametrize(
    ("reason", "step_failures", "run_failures", "again"),
    [
        ("StepFailed", 1, 1, True),
        ("StepFailed", 2, 3, True),
        ("StepFailed", 3, 3, False),
        ("StepFailed", 1, 4, False),
        ("DeadlineExceeded", 1, 1, True),
        ("OutputMissing", 1, 1, False),
        ("StoreUnreachable", 1, 1, False),
    ],
)
def test_the_limits_of_step_and_run_bound_the_attempts(
    reason: str, step_failures: int, run_failures: int, again: bool
) -> None:
    step = Step(name="s", image="i")
    assert plan.may_retry(reason, step_failures=step_failures, run_failures=run_failures, step=step, run=RUN) is again
