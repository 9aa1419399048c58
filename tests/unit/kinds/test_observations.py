from typing import Any

from modelyard.controller.engine.manifests import ResourceType
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.observations import observation_of, subject_of

SUBJECT = {"kind": "TrainingRun", "metadata": {"name": "nightly", "namespace": "air", "uid": "new"}}


def stored(uid: str, **more: Any) -> Store:
    store = Store(ResourceType("modelyard.dev", "v1alpha1", "observations", "Observation"))
    subject = {"kind": "TrainingRun", "name": "nightly", "uid": uid}
    metadata = {"name": "trainingrun-nightly", "namespace": "air", "uid": "u", "resourceVersion": "1"}
    spec = {"subject": subject, "observedTime": "2026-01-01T00:00:00Z", **more}
    store.put({"apiVersion": "modelyard.dev/v1alpha1", "kind": "Observation", "metadata": metadata, "spec": spec})
    return store


def test_an_observation_is_of_one_very_object() -> None:
    assert observation_of(stored("new"), "TrainingRun", SUBJECT)
    assert observation_of(stored("old"), "TrainingRun", SUBJECT) is None
    assert observation_of(stored("new"), "ModelVersion", SUBJECT) is None


def test_an_observation_that_cannot_be_read_is_none() -> None:
    assert observation_of(stored("new", results="many"), "TrainingRun", SUBJECT) is None


def test_an_observation_names_its_subject() -> None:
    (observation,) = stored("new").all()
    assert [tuple(key) for key in subject_of(observation)] == [("TrainingRun", "air", "nightly")]
