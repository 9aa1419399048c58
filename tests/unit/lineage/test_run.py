import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.lineage.run import RunRecord, parse_run, run_from_environment, run_to_environment
from modelyard.storage.manifests import digest_of
from tests.support.recorded import training_run

LINUX_VARIABLE_BYTES = 128 * 1024


def test_run_is_read_as_it_was_written() -> None:
    run = RunRecord.of(training_run())
    assert parse_run(run.to_json()) == run
    assert run.digest == digest_of(run.to_json().encode())


def test_what_may_change_while_a_run_goes_on_is_no_part_of_its_record() -> None:
    assert RunRecord.of(training_run(suspend=True, ttlSecondsAfterFinished=60)) == RunRecord.of(training_run())


def test_step_that_modelyard_adds_is_no_part_of_the_record() -> None:
    assert [step.name for step in RunRecord.of(training_run()).steps] == ["prepare", "train"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4096), max_size=64))
def test_every_run_passes_through_the_environment(values: list[str]) -> None:
    parameters = [{"name": f"p{number}", "value": value} for number, value in enumerate(values)]
    run = RunRecord.of(training_run(parameters=parameters))
    variables = run_to_environment(run)
    assert run_from_environment({"OTHER": "x", **variables}, run.digest) == run.to_json()


def test_greatest_parameters_fit_what_linux_takes_in_a_variable() -> None:
    parameters = [{"name": f"p{number}", "value": "\N{GRINNING FACE}" * 4096} for number in range(64)]
    run = RunRecord.of(training_run(parameters=parameters))
    variables = run_to_environment(run)
    assert max(len(f"{name}={value}".encode()) for name, value in variables.items()) < LINUX_VARIABLE_BYTES
    assert run_from_environment(variables, run.digest) == run.to_json()


def test_pieces_that_are_not_the_run_are_refused() -> None:
    run = RunRecord.of(training_run())
    with pytest.raises(ValueError, match="must be the run with the digest sha256:"):
        run_from_environment({"MODELYARD_RUN_RECORD_0": run.to_json() + " "}, run.digest)


def test_field_of_a_newer_writer_is_kept_by_the_digest_and_ignored_by_the_reader() -> None:
    run = RunRecord.of(training_run())
    newer = json.dumps({**json.loads(run.to_json()), "new": 1})
    kept = run_from_environment({"MODELYARD_RUN_RECORD_0": newer}, digest_of(newer.encode()))
    assert (kept, parse_run(kept)) == (newer, run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json: document: Invalid JSON"),
        ('{"schema": "modelyard.dev/run/v2"}', "run.json: schema: Input should be 'modelyard.dev/run/v1'"),
        ('{"schema": "modelyard.dev/run/v1"}', "run.json: name: Field required"),
    ],
)
def test_what_is_no_run_is_refused_with_the_field(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_run(text)
