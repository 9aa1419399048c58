"""The server runs where it was told to, or not at all."""

import json
from pathlib import Path

import onnxruntime
import pytest

from modelyard.model.directory import load_model_directory
from modelyard.serving.errors import StartError
from modelyard.serving.session import Session
from tests.contract.serving.conftest import StartServer

CUDA = "CUDAExecutionProvider"

pytestmark = pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA")


def test_device_that_the_image_does_not_have_is_a_clear_end(start_server: StartServer) -> None:
    server = start_server(MODELYARD_DEVICE="cuda")
    assert server.wait() == 1
    end = json.loads(server.termination_log.read_bytes())
    assert end["reason"] == "DeviceUnavailable"
    assert CUDA in end["message"]


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_device_that_does_not_start_is_not_replaced_by_the_cpu(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the provider were there and did not start: ONNX Runtime then loads the model onto the CPU.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    directory = load_model_directory(model_dir)
    with pytest.raises(StartError, match="cannot use the device 'cuda'") as caught:
        Session(directory.model_file, directory.signature, 1, "cuda")
    assert caught.value.reason == "DeviceUnavailable"


def test_device_that_is_not_known_is_refused(start_server: StartServer) -> None:
    server = start_server(MODELYARD_DEVICE="tpu")
    assert server.wait() == 1
    end = json.loads(server.termination_log.read_bytes())
    assert end == {"reason": "InvalidSettings", "message": "MODELYARD_DEVICE: must be one of cpu, cuda, got 'tpu'"}
