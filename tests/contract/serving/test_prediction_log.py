"""The real server's answers are in its prediction log under the ids that clients got."""

import json
from pathlib import Path

from tests.contract.serving.conftest import StartServer
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors


def test_logged_answers_are_found_by_their_ids_after_the_drain(start_server: StartServer, tmp_path: Path) -> None:
    columns = json.dumps(["carrier"])
    server = start_server(
        MODELYARD_PREDICTION_LOG_DIR=str(tmp_path), MODELYARD_PREDICTION_LOG_COLUMNS=columns
    ).wait_ready()
    request = {"inputs": request_tensors(EXAMPLE_ROWS)}
    given = server.infer(request | {"id": "order 7"}).json
    own = server.infer(request).json
    assert server.infer(b"{}").status == 400
    assert given["id"] == "order 7"
    server.terminate()
    assert server.wait() == 0
    lines = [json.loads(line) for file in sorted(tmp_path.iterdir()) for line in file.read_text().splitlines()]
    assert [(line["predictionId"], line["row"]) for line in lines] == [
        (identifier, row) for identifier in ("order 7", own["id"]) for row in range(len(EXAMPLE_ROWS))
    ]
    for line, row, label in zip(lines, [*EXAMPLE_ROWS] * 2, given["outputs"][0]["data"] * 2, strict=True):
        assert line["inputs"] == {"carrier": row[2]}
        assert line["outputs"]["label"] == label
        assert (line["deployment"], line["model"], line["version"]) == ("flights", "flight-delay", "7")


def test_column_that_is_no_input_ends_the_start(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(MODELYARD_PREDICTION_LOG_DIR=str(tmp_path), MODELYARD_PREDICTION_LOG_COLUMNS='["nothing"]')
    assert server.wait() == 1
    content = json.loads(server.termination_log.read_bytes())
    assert content["reason"] == "InvalidSettings"
    assert "'nothing' is none" in content["message"]
