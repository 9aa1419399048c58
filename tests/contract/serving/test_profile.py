"""The profile of the real server counts what was asked and answered."""

import json
from pathlib import Path

from tests.contract.serving.conftest import StartServer
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors

BASELINE = {
    "schema": "modelyard.dev/baseline/v1",
    "rows": 400,
    "features": [
        {"name": "distance", "kind": "Numeric", "edges": [80.0, 1000.0, 5000.0], "counts": [100, 300]},
        {"name": "carrier", "kind": "Categorical", "categories": ["AA"], "counts": [400]},
    ],
    "outputs": [{"name": "probabilities/1", "kind": "Numeric", "edges": [0.0, 0.5, 1.0], "counts": [200, 200]}],
}


def test_profile_counts_what_was_asked_and_answered(start_server: StartServer, own_model_dir: Path) -> None:
    (own_model_dir / "baseline.json").write_text(json.dumps(BASELINE))
    server = start_server(own_model_dir).wait_ready()
    request = {"inputs": request_tensors(EXAMPLE_ROWS)}
    wrong = {"inputs": [{**tensor, "data": ["x"] * len(EXAMPLE_ROWS)} for tensor in request["inputs"]]}
    for _ in range(2):
        assert server.infer(request).status == 200
    assert server.infer(wrong).status == 400
    profile = server.request("GET", "/profile", port=server.metrics_port).json
    rows = 2 * len(EXAMPLE_ROWS)
    assert (profile["schema"], profile["rows"], profile["sampledRows"]) == ("modelyard.dev/profile/v1", rows, rows)
    distance, carrier = profile["features"]
    distances = [row[0] for row in EXAMPLE_ROWS if row[0] is not None]
    near = sum(value < 1000 for value in distances)
    assert distance["counts"] == [2 * near, 2 * (len(distances) - near)]
    assert distance["missing"] == rows - 2 * len(distances)
    carriers = [row[2] for row in EXAMPLE_ROWS]
    assert carrier["counts"] == [2 * carriers.count("AA")]
    assert carrier["other"] == rows - carrier["counts"][0] == sum(carrier["new"].values())
    assert sum(profile["outputs"][0]["counts"]) == rows
    assert profile["invalid"] == {"distance": {"wrong_type": 1}}
    again = server.request("GET", "/profile", port=server.metrics_port).json
    assert again == profile


def test_profile_can_be_off(start_server: StartServer) -> None:
    server = start_server(MODELYARD_PROFILE="off").wait_ready()
    assert server.request("GET", "/profile", port=server.metrics_port).status == 404
