"""A start that cannot succeed ends with exit code 1 and says why in the termination log."""

import json
import os
import subprocess
import sys
from pathlib import Path

from modelyard.serving.verification import directory_digest
from tests.contract.serving.conftest import StartServer
from tests.contract.serving.server_process import ServerProcess


def termination(server: ServerProcess) -> dict[str, str]:
    assert server.wait() == 1
    assert server.termination_log.stat().st_size <= 4096
    content: dict[str, str] = json.loads(server.termination_log.read_bytes())
    assert list(content) == ["reason", "message"]
    return content


def test_start_leaves_nothing_behind_and_says_nothing_but_json(start_server: StartServer, tmp_path: Path) -> None:
    variables = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    server = start_server(**variables).wait_ready()
    assert not list(tmp_path.iterdir())
    assert all(line.startswith(b"{") for line in server.log_lines())


def test_telemetry_of_onnx_runtime_is_off_unless_somebody_wants_it() -> None:
    show = "import os, modelyard; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    variables = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    for wanted, shown in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        done = subprocess.run(
            [sys.executable, "-c", show], env=variables | wanted, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == shown


def test_tampered_model_ends_the_start(start_server: StartServer, own_model_dir: Path) -> None:
    digest = directory_digest(own_model_dir)
    model = own_model_dir / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    assert termination(start_server(own_model_dir, MODELYARD_MODEL_DIGEST=digest))["reason"] == "DigestMismatch"


def test_golden_mismatch_ends_the_start(start_server: StartServer, own_model_dir: Path) -> None:
    examples = own_model_dir / "examples.json"
    content = json.loads(examples.read_text())
    content["examples"][0]["outputs"][1]["data"][0] += 0.01
    examples.write_text(json.dumps(content))
    assert termination(start_server(own_model_dir))["reason"] == "GoldenMismatch"


def test_settings_that_are_wrong_are_all_named(start_server: StartServer) -> None:
    failed = termination(start_server(MODELYARD_TRACK="beta", MODELYARD_MAX_ROWS="0"))
    assert failed["reason"] == "InvalidSettings"
    assert "MODELYARD_TRACK: must be one of stable, canary, shadow, got 'beta'" in failed["message"]
    assert "MODELYARD_MAX_ROWS: must be a whole number from 1 to 10000000, got '0'" in failed["message"]


def test_port_that_is_taken_is_named(start_server: StartServer, server: ServerProcess) -> None:
    failed = termination(start_server(MODELYARD_HTTP_PORT=str(server.port)))
    assert failed["reason"] == "AddressUnavailable"
    assert f"port {server.port}" in failed["message"]
