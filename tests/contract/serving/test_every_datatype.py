"""tritonclient in all four combinations of binary and JSON, with every datatype and many inputs, and with no rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
import tritonclient.http as triton

from modelyard.model import Datatype
from modelyard.serving.tensors import DTYPES
from tests.contract.serving.identity_model import write_identity_model
from tests.contract.serving.server_process import ServerProcess

TRITON_HAS_NO_JSON = {Datatype.FP16}
"""The client itself refuses to send it as JSON."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("identity")
    write_identity_model(folder / "model", {datatype.value: (datatype.value, (-1, 2)) for datatype in Datatype})
    process = ServerProcess(folder / "model", folder)
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected


def values(datatype: Datatype, rows: int) -> Any:
    """The extremes of a datatype, cut or repeated to some rows of two."""
    dtype = DTYPES[datatype]
    edges: list[Any]
    if datatype is Datatype.BYTES:
        edges = ["", "Zürich", "日本", "a\x00b", "x" * 1000, '"\\\n']
    elif datatype is Datatype.BOOL:
        edges = [True, False, False]
    else:
        limits = np.iinfo(dtype) if datatype.is_integer else np.finfo(dtype)
        edges = [limits.min, limits.max, 0, 1]
    return np.resize(np.array(edges, dtype=dtype), (rows, 2))


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("binary_outputs", [True, False])
@pytest.mark.parametrize("binary_inputs", [True, False])
def test_every_value_comes_back_as_it_was_sent(
    client: triton.InferenceServerClient, binary_inputs: bool, binary_outputs: bool, rows: int
) -> None:
    sent = {datatype: values(datatype, rows) for datatype in Datatype}
    inputs = []
    for datatype, array in sent.items():
        inputs.append(triton.InferInput(datatype.value, list(array.shape), datatype.value))
        inputs[-1].set_data_from_numpy(array, binary_data=binary_inputs or datatype in TRITON_HAS_NO_JSON)
    outputs = [triton.InferRequestedOutput(f"{datatype}_out", binary_data=binary_outputs) for datatype in Datatype]
    result = client.infer("flight-delay", inputs, outputs=outputs)
    for datatype, array in sent.items():
        output = result.get_output(f"{datatype}_out")
        assert (output["datatype"], output["shape"]) == (datatype.value, [rows, 2])
        assert np.array(_received(result, datatype), DTYPES[datatype]).tolist() == array.ravel().tolist(), datatype


def _received(result: triton.InferResult, datatype: Datatype) -> list[Any]:
    output = result.get_output(f"{datatype}_out")
    if "data" in output:
        flat: list[Any] = output["data"]
        return flat
    array = result.as_numpy(f"{datatype}_out")
    return [value.decode() if isinstance(value, bytes) else value for value in array.ravel().tolist()]


@pytest.mark.parametrize("datatype", [datatype for datatype in Datatype if datatype is not Datatype.BYTES])
def test_binary_data_of_one_byte_too_few_is_refused(server: ServerProcess, datatype: Datatype) -> None:
    size = DTYPES[datatype].itemsize * 2 - 1
    others = [other for other in Datatype if other is not datatype]
    entries: list[dict[str, Any]] = [
        {"name": other, "datatype": other, "shape": [1, 2], "data": values(other, 1).ravel().tolist()}
        for other in others
    ]
    entries.append({"name": datatype, "datatype": datatype, "shape": [1, 2], "parameters": {"binary_data_size": size}})
    header = orjson.dumps({"inputs": entries})
    answer = server.infer(header + b"\x00" * size, {"Inference-Header-Content-Length": str(len(header))})
    assert answer.status == 400
    assert f"takes {size + 1} bytes of binary data, got {size}" in answer.json["error"]
