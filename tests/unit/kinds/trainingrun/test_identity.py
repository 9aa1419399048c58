"""What makes two steps the same: all that user code can see, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.modelversion import Lineage
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Step
from modelyard.controller.kinds.trainingrun.identity import code_of, digest_in, step_identity, version_identity
from tests.unit.kinds.trainingrun.builders import EVALUATION, PINNED, PREPARE, TRAIN, run_manifest, sha, typed

TREE = {"name": "features", "uri": f"s3://air/blobs/sha256/{'b' * 64}", "digest": sha("b")}
FILE = {"name": "flights", "uri": "s3://air/flights.csv", "digest": sha("a")}


def identity(step: dict[str, Any] = PINNED, sources: Any = (TREE, FILE), code: str = "c", **changes: Any) -> str:
    spec = typed(run_manifest(**changes)).spec
    return step_identity(spec, Step.model_validate(step), code, sources)


@pytest.mark.parametrize(
    "other",
    [
        {"step": {**PINNED, "name": "fit"}},
        {"step": {**PINNED, "command": ["python"]}},
        {"step": {**PINNED, "args": ["--fast"]}},
        {"step": {**PINNED, "command": ["a"], "args": ["b"]}},
        {"step": {**PINNED, "env": [{"name": "A", "value": "1"}]}},
        {"step": {**PINNED, "env": [{"name": "A", "value": ""}]}},
        {"step": {**PINNED, "workingDir": "/src"}},
        {"step": {**PINNED, "outputs": ["model", "report"]}},
        {"sources": (TREE,)},
        {"sources": ({**TREE, "digest": sha("c")}, FILE)},
        {"sources": (TREE, {**FILE, "name": "other"})},
        {"sources": (TREE, {**FILE, "uri": "s3://air/flights.tsv"})},
        {"sources": (TREE, FILE, {"name": "champion", "uri": "s3://air/c/", "digest": sha("d")})},
        {"code": "d"},
        {"seed": 8},
        {"parameters": [{"name": "maxDepth", "value": "7"}]},
        {"model": "other"},
    ],
    ids=str,
)
def test_whatever_user_code_can_see_makes_another_step(other: dict[str, Any]) -> None:
    assert identity(**other) != identity()


@pytest.mark.parametrize(
    "same",
    [
        {"step": {**PINNED, "cache": "Never"}},
        {"step": {**PINNED, "backoffLimit": 7}},
        {"step": {**PINNED, "activeDeadlineSeconds": 7}},
        {"step": {**PINNED, "resources": {"limits": {"memory": "8Gi"}}}},
        {"step": {**PINNED, "podTemplate": {"nodeSelector": {"zone": "a"}, "workspace": "9Gi"}}},
        {"sources": (FILE, TREE)},
        {"sources": ({**TREE, "uri": f"gs://other/blobs/sha256/{'b' * 64}"}, {**FILE, "uri": "gs://x/flights.csv"})},
        {"requestedBy": "bob"},
        {"evaluation": None},
        {"inputs": [{"name": "unread", "uri": "s3://air/x/"}]},
    ],
    ids=str,
)
def test_what_changes_no_result_makes_the_same_step(same: dict[str, Any]) -> None:
    assert identity(**same) == identity()


def test_order_of_parameters_and_outputs_does_not_matter_but_that_of_variables_does() -> None:
    """A variable may refer to those before it."""
    parameters = [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    variables = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]
    assert identity(parameters=parameters) == identity(parameters=parameters[::-1])
    outputs = {**PINNED, "outputs": ["model", "report"]}
    assert identity(outputs) == identity({**outputs, "outputs": ["report", "model"]})
    assert identity({**PINNED, "env": variables}) != identity({**PINNED, "env": variables[::-1]})


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3))
def test_commands_and_arguments_never_run_into_each_other(
    command: list[str], args: list[str], other_command: list[str], other_args: list[str]
) -> None:
    one = identity({**PINNED, "command": command, "args": args})
    two = identity({**PINNED, "command": other_command, "args": other_args})
    assert (one == two) == ((command, args) == (other_command, other_args))


@pytest.mark.parametrize(
    ("step", "ran", "code"),
    [
        (PREPARE, None, "tabular/prepare@v1 trainer:1"),
        (PREPARE, f"trainer@{sha('1')}", "tabular/prepare@v1 trainer:1"),
        (PINNED, None, sha("9")),
        (PINNED, f"example.com/train@{sha('1')}", sha("9")),
        (TRAIN, None, None),
        (TRAIN, "example.com/train:1", None),
        (TRAIN, f"example.com/train@{sha('1')}", sha("1")),
    ],
)
def test_code_is_known_by_digest_or_as_a_built_in_component(step: dict[str, Any], ran: str | None, code: Any) -> None:
    assert code_of(Step.model_validate(step), "trainer:1", ran) == code


@pytest.mark.parametrize(
    ("image", "digest"),
    [
        (None, None),
        ("", None),
        ("train", None),
        ("train:sha256", None),
        (f"train@{sha('1')}", sha("1")),
        (f"example.com:5000/a/train:9@{sha('1')}", sha("1")),
        (f"train@{sha('1')}0", None),
        (f"train@sha512:{'1' * 64}", None),
    ],
)
def test_only_a_digest_names_an_image_for_good(image: str | None, digest: str | None) -> None:
    assert digest_in(image) == digest


LINEAGE: dict[str, Any] = {
    "trainingRun": {"name": "one", "uid": "u", "namespace": "air"},
    "code": [{"step": "train", "image": f"train@{sha('1')}"}],
    "inputs": [{"name": "flights", "uri": "s3://air/flights/", "digest": sha("a"), "version": "v1"}],
    "parametersDigest": sha("2"),
    "seed": 7,
    "previousVersion": 3,
}


def version(lineage: dict[str, Any] | None = None, evaluation: Any = EVALUATION, **changes: Any) -> str:
    facts = {"dataset_digest": sha("d"), "rival_digest": sha("e"), **changes}
    judged = EvaluationSpec.model_validate(evaluation) if evaluation else None
    model = facts.pop("model_digest", sha("f"))
    return version_identity(model, Lineage.model_validate(lineage or LINEAGE), evaluation=judged, **facts)


@pytest.mark.parametrize(
    "other",
    [
        {"model_digest": sha("0")},
        {"dataset_digest": sha("0")},
        {"rival_digest": sha("0")},
        {"rival_digest": None},
        {"evaluation": None},
        {"evaluation": {**EVALUATION, "minimumImprovement": "0.1"}},
        {"lineage": {**LINEAGE, "seed": 8}},
        {"lineage": {**LINEAGE, "parametersDigest": sha("0")}},
        {"lineage": {**LINEAGE, "inputs": [{**LINEAGE["inputs"][0], "digest": sha("0")}]}},
        {"lineage": {**LINEAGE, "code": [{"step": "train", "image": "train:2"}]}},
    ],
    ids=str,
)
def test_a_version_is_another_when_its_record_would_say_something_else(other: dict[str, Any]) -> None:
    assert version(**other) != version()


@pytest.mark.parametrize(
    "same",
    [
        {"lineage": {**LINEAGE, "trainingRun": {"name": "two", "uid": "w", "namespace": "air"}}},
        {"lineage": {**LINEAGE, "previousVersion": 4}},
        {"lineage": {**LINEAGE, "inputs": [{**LINEAGE["inputs"][0], "version": "v2", "uri": "s3://moved/"}]}},
    ],
    ids=str,
)
def test_a_version_is_the_same_whoever_makes_it(same: dict[str, Any]) -> None:
    assert version(**same) == version()


def test_a_version_that_is_not_judged_has_no_rival() -> None:
    assert version(evaluation=None) == version(evaluation=None, rival_digest=None)
