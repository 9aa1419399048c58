from typing import Any

import pytest

from modelyard.api.v1alpha1 import TrainingRun
from modelyard.local.manifest import RunError, parse_pairs, read_run
from modelyard.manifests.documents import Document
from tests.cluster.api.objects import MINIMAL, Object, merged

UID = "0123abcd-0000-0000-0000-000000000000"
RUN = merged(
    MINIMAL["TrainingRun"],
    {
        "spec": {
            "inputs": [{"name": "flights", "uri": "s3://b/f/", "digest": "sha256:" + "a" * 64}],
            "parameters": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}],
        }
    },
)
PIPELINE = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "Pipeline",
    "metadata": {"name": "nightly"},
    "spec": {"template": {"spec": RUN["spec"]}},
}
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}


def read(
    *values: Object, parameters: dict[str, str] | None = None, inputs: dict[str, str] | None = None
) -> TrainingRun:
    return read_run([Document(value, 1, {}) for value in values], parameters or {}, inputs or {}, UID)


def test_the_run_of_a_file_is_read_and_other_kinds_are_passed_over() -> None:
    run = read(CONFIG_MAP, RUN)
    assert (run.metadata.name, run.metadata.namespace, run.metadata.uid) == ("run", "local", UID)


def test_a_pipeline_gives_the_run_that_it_would_make() -> None:
    run = read(PIPELINE)
    assert run.metadata.name == "nightly-0123abcd"
    assert run.spec == read(RUN).spec


def test_parameters_and_inputs_of_the_command_line_win() -> None:
    run = read(RUN, parameters={"b": "3", "c": "4"}, inputs={"flights": "file:///data/"})
    assert {parameter.name: parameter.value for parameter in run.spec.parameters} == {"a": "1", "b": "3", "c": "4"}
    assert (run.spec.inputs[0].uri, run.spec.inputs[0].digest) == ("file:///data/", None)


def test_what_was_read_is_not_changed() -> None:
    before = merged(RUN, {})
    read(RUN, parameters={"a": "9"}, inputs={"flights": "file:///data/"})
    assert before == RUN


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([CONFIG_MAP], {}, "exactly one TrainingRun or Pipeline, holds 0"),
        ([RUN, PIPELINE], {}, "exactly one TrainingRun or Pipeline, holds 2"),
        ([merged(RUN, {"spec": {"model": "M"}})], {}, "line 1: spec.model: must match"),
        ([merged(PIPELINE, {"spec": {"template": None}})], {}, "spec.template: must be set"),
        ([RUN], {"parameters": {"1": "x"}}, r"spec.parameters\[2\].name: must match"),
        ([RUN], {"inputs": {"planes": "file:///x/"}}, r"must name an entry of spec.inputs \(flights\), got 'planes'"),
        ([merged(RUN, {"metadata": {"name": "a" * 41}})], {}, "name of at most 40 characters"),
    ],
)
def test_a_run_that_cannot_be_made_is_refused_with_the_field(values: list[Any], options: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        read(*values, **options)


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert parse_pairs("-p", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize(
    ("pairs", "message"), [(["a"], "must be NAME=VALUE"), (["=a"], "must be NAME=VALUE"), (["a=1", "a=2"], "twice")]
)
def test_other_options_are_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(RunError, match=message):
        parse_pairs("-p", pairs)
