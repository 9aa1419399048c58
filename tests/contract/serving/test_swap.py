"""SIGHUP puts another model in the place of the served one, and no request notices."""

import json
import shutil
import signal
from functools import partial
from pathlib import Path

from tests.contract.serving.conftest import StartServer
from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import BODY, PATH
from tests.support.load import LoadClient, load
from tests.support.waiting import wait_until

SWAPS = 3


def _served_digest(server: ServerProcess) -> str:
    page = server.request("GET", "/metrics", port=server.metrics_port).body.decode()
    (line,) = (line for line in page.splitlines() if line.startswith("modelyard_model_info{"))
    return line.split('digest="')[1].split('"')[0]


def _add_example(folder: Path) -> None:
    examples = folder / "examples.json"
    content = json.loads(examples.read_text())
    content["examples"].append(content["examples"][0])
    examples.write_text(json.dumps(content))


def _has_answered(client: LoadClient, count: int) -> bool:
    return client.answered >= count


def test_swap_under_load_fails_no_request(start_server: StartServer, own_model_dir: Path) -> None:
    server = start_server(own_model_dir, MODELYARD_MODEL_DIGEST="").wait_ready()
    digests = [_served_digest(server)]
    with load(("127.0.0.1", server.port), PATH, BODY) as clients:
        for _ in range(SWAPS):
            _add_example(own_model_dir)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: _served_digest(server) != digests[-1], seconds=30, what="another model")
            digests.append(_served_digest(server))
            more = [client.answered + 10 for client in clients]
            for client, count in zip(clients, more, strict=True):
                wait_until(partial(_has_answered, client, count), seconds=20, what="answers of the new model")
    assert len(set(digests)) == SWAPS + 1
    page = server.request("GET", "/metrics", port=server.metrics_port).body.decode()
    assert "modelyard_inference_model_swaps_total{" in page


def test_model_that_is_not_good_is_refused_and_the_old_one_stays(
    start_server: StartServer, own_model_dir: Path
) -> None:
    server = start_server(own_model_dir).wait_ready()
    digest = _served_digest(server)
    shutil.copy(own_model_dir / "modelyard.json", own_model_dir / "model.onnx")
    server.process.send_signal(signal.SIGHUP)
    refused = server.wait_logged("the model stays, its successor is refused")
    assert refused["reason"] == "DigestMismatch"
    assert _served_digest(server) == digest
    assert server.infer(BODY).status == 200
