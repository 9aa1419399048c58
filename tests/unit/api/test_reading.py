from modelyard.api.v1alpha1 import Deployment

NEWER = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "Deployment",
    "metadata": {"name": "d", "namespace": "n", "uid": "u", "managedFields": []},
    "spec": {
        "model": {"name": "m", "version": 1, "channel": "Fast"},
        "batch": {"parallelism": 2},
        "endpoint": {"protocols": ["GRPC"]},
    },
    "status": {
        "phase": "New",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "BrandNew",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "severity": "Low",
            }
        ],
    },
}


def test_object_of_a_newer_operator_is_read_without_its_unknown_fields() -> None:
    deployment = Deployment.model_validate(NEWER)
    assert deployment.spec.model.version == 1
    assert deployment.spec.endpoint.replicas == 1
    assert deployment.status.conditions[0].reason == "BrandNew"


def test_object_is_written_by_its_json_names_without_what_is_absent() -> None:
    written = Deployment.model_validate(NEWER).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written["status"]["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert "batch" not in written["spec"]
