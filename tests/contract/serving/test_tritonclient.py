"""The clients' own client: tritonclient over HTTP, in all four combinations of binary and JSON."""

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors


@pytest.fixture
def client(server: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected


def _inputs(*, binary: bool) -> list[triton.InferInput]:
    inputs = []
    for tensor in request_tensors(EXAMPLE_ROWS[:2]):
        values = np.array(tensor["data"], dtype=np.float32 if tensor["datatype"] == "FP32" else object)
        inputs.append(triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        inputs[-1].set_data_from_numpy(values.reshape(tensor["shape"]), binary_data=binary)
    return inputs


def test_tritonclient_finds_server_and_model(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flight-delay")
    assert client.is_model_ready("flight-delay", "7")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert len(client.get_model_metadata("flight-delay")["inputs"]) == 4


@pytest.mark.parametrize("binary_outputs", [True, False])
@pytest.mark.parametrize("binary_inputs", [True, False])
def test_tritonclient_infers_in_every_mode(
    client: triton.InferenceServerClient, server: ServerProcess, binary_inputs: bool, binary_outputs: bool
) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_outputs) for name in ("label", "probabilities")]
    result = client.infer("flight-delay", _inputs(binary=binary_inputs), outputs=outputs, request_id="r1")
    expected = server.infer({"inputs": request_tensors(EXAMPLE_ROWS[:2])}).json["outputs"]
    assert result.get_response()["id"] == "r1"
    assert result.as_numpy("label").tolist() == expected[0]["data"]
    assert result.as_numpy("probabilities").ravel() == pytest.approx(expected[1]["data"])


def test_tritonclient_default_takes_all_outputs_as_binary(client: triton.InferenceServerClient) -> None:
    result = client.infer("flight-delay", _inputs(binary=True))
    assert {output["name"] for output in result.get_response()["outputs"]} == {"label", "probabilities"}
    assert result.as_numpy("probabilities").shape == (2, 2)


def test_tritonclient_shows_the_error_text(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="must be one of 'label', 'probabilities'"):
        client.infer("flight-delay", _inputs(binary=True), outputs=[triton.InferRequestedOutput("x")])
