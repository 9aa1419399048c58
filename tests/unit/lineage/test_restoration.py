from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.lineage.restoration import model_version, published
from tests.support.recorded import record


def of_run(number: int, uid: str) -> ModelVersionSpec:
    lineage = {
        "trainingRun": {"name": "r", "uid": uid, "namespace": "air"},
        "parametersDigest": "sha256:" + "9" * 64,
    }
    return record(number, lineage=lineage)


def test_record_of_a_number_that_a_run_gave_up_is_left_out() -> None:
    records = [of_run(9, "b"), of_run(7, "a"), of_run(8, "a")]
    assert [item.version for item in published(records)] == [8, 9]


def test_records_of_no_run_are_all_kept() -> None:
    assert len(published([record(1, lineage=None), record(2, lineage=None)])) == 2


def test_version_is_the_record_under_its_name_with_its_labels() -> None:
    manifest = model_version(record(), "air")
    assert manifest["metadata"] == {
        "name": "flight-delay-v7",
        "namespace": "air",
        "labels": {
            "app.kubernetes.io/managed-by": "modelyard",
            "app.kubernetes.io/part-of": "modelyard",
            "modelyard.dev/model": "flight-delay",
            "modelyard.dev/version": "7",
        },
    }
    assert ModelVersionSpec.model_validate(manifest["spec"]) == record()


def test_list_for_any_namespace_names_none() -> None:
    assert "namespace" not in model_version(record(), None)["metadata"]
