from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.api.v1alpha1.trainingrun import TrainingRun
from modelyard.lineage.reproduction import compare_results, reproduction
from modelyard.lineage.run import RunRecord
from tests.support.recorded import image, record, sha, training_run

RUN = RunRecord.of(training_run())


def repeated(version: ModelVersionSpec, run: RunRecord = RUN) -> TrainingRun:
    manifest = reproduction(version, run, "air").manifest
    return TrainingRun.model_validate({**manifest, "metadata": {**manifest["metadata"], "uid": "u"}})


def test_inputs_and_images_are_pinned_and_the_rest_is_as_it_was() -> None:
    spec = repeated(record()).spec
    assert [item.digest for item in spec.inputs] == [sha("a")]
    assert [step.image for step in spec.steps] == [None, image("train", "2")]
    assert (spec.parameters, spec.seed, spec.evaluation) == (RUN.spec.parameters, 7, RUN.spec.evaluation)
    assert spec.steps[1].command == ("python", "train.py")


def test_what_a_step_does_not_set_is_left_out_since_a_built_in_step_may_have_no_command() -> None:
    prepare, train = reproduction(record(), RUN, "air").manifest["spec"]["steps"]
    assert prepare == {
        "name": "prepare",
        "uses": "tabular/prepare@v1",
        "inputs": ["flights"],
        "outputs": ["features"],
        "cache": "Never",
        "numNodes": 1,
        "backoffLimit": 2,
        "progress": "AtEnd",
    }
    assert "args" not in train


def test_who_and_what_started_the_first_run_did_not_start_this_one() -> None:
    trigger = {"reason": "Schedule", "key": "0" * 16, "number": 1}
    spec = repeated(record(), RunRecord.of(training_run(trigger=trigger))).spec
    assert (spec.trigger, spec.requested_by) == (None, None)


def test_it_publishes_to_a_line_of_its_own() -> None:
    assert repeated(record()).spec.model == "flight-delay-reproduced"
    long = record(model="m" * 50)
    assert repeated(long).spec.model == "m" * 39 + "-reproduced"


def test_name_fits_and_is_the_same_for_the_same_model_only() -> None:
    names = [repeated(version).metadata.name for version in (record(), record(), record(8), record(model="m" * 50))]
    assert names[0] == names[1] != names[2]
    assert all(len(name) <= 40 for name in names)


def test_what_may_make_another_model_is_said_beforehand() -> None:
    unpinned = RUN.model_copy(update={"steps": (RUN.steps[0].model_copy(update={"image": "trainer:1"}), RUN.steps[1])})
    assert reproduction(record(), unpinned, "air").caveats == (
        "step 'prepare': its image is not known by digest, so it may have changed",
        "step 'train': reads the champion, and a model line of its own has none at first",
    )


def test_same_digest_is_bit_for_bit() -> None:
    found = compare_results((record(), RUN), (record(), RUN))
    assert found.bit_for_bit
    assert (found.metrics, found.differences, found.code) == (3, (), ())


def test_metrics_and_images_that_differ_are_named() -> None:
    artifact = {"uri": "s3://air/m/", "digest": sha("7")}
    judged = record().model_dump(by_alias=True)["evaluation"]
    other = record(artifact=artifact, evaluation={**judged, "value": "0.7", "metrics": []})
    steps = (RUN.steps[0].model_copy(update={"image": image("trainer", "3")}), RUN.steps[1])
    found = compare_results((record(), RUN), (other, RUN.model_copy(update={"steps": steps})))
    assert not found.bit_for_bit
    assert [(item.name, item.original, item.reproduced) for item in found.differences] == [
        ("evaluation/logLoss", "0.4012", "—"),
        ("evaluation/rocAuc", "0.7134", "0.7"),
    ]
    assert [item.name for item in found.code] == ["prepare"]
