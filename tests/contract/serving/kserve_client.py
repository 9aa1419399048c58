"""Asks a server with kserve's own clients and prints what they got, as JSON; runs where only kserve is installed.

Arguments: REST port, gRPC port, the model's name, and the tensors of a request as JSON.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from httpx import HTTPStatusError  # type: ignore[import-not-found]
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferResponse, RequestedOutput


def request(model: str, tensors: list[dict[str, Any]], *, binary: bool, binary_outputs: bool) -> InferRequest:
    inputs = []
    for tensor in tensors:
        dtype = object if tensor["datatype"] == "BYTES" else np.float32
        inputs.append(InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        inputs[-1].set_data_from_numpy(np.array(tensor["data"], dtype).reshape(tensor["shape"]), binary_data=binary)
    outputs = [RequestedOutput(name, {"binary_data": binary_outputs}) for name in ("label", "probabilities")]
    return InferRequest(model, inputs, request_id="asked", request_outputs=outputs)


def shown(response: InferResponse) -> dict[str, Any]:
    outputs = {output.name: output.as_numpy().tolist() for output in response.outputs}
    return {"id": response.id, "model": response.model_name, "version": response.model_version, "outputs": outputs}


async def ask_rest(url: str, model: str, tensors: list[dict[str, Any]]) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    answers: dict[str, Any] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, model),
        "other_ready": await client.is_model_ready(url, "other"),
    }
    for binary in (False, True):
        for binary_outputs in (False, True):
            mode = f"{'binary' if binary else 'json'}/{'binary' if binary_outputs else 'json'}"
            asked = request(model, tensors, binary=binary, binary_outputs=binary_outputs)
            answers[mode] = shown(await client.infer(url, asked, model_name=model))
    try:
        await client.infer(url, {"inputs": []}, model_name=model)
    except HTTPStatusError as error:
        answers["error"] = str(error)
    await client.close()
    return answers


async def ask_grpc(address: str, model: str, tensors: list[dict[str, Any]]) -> dict[str, Any]:
    client = InferenceGRPCClient(address, retries=0)
    answers: dict[str, Any] = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model_ready": await client.is_model_ready(model),
    }
    for binary in (False, True):
        asked = request(model, tensors, binary=binary, binary_outputs=binary)
        answers["raw" if binary else "typed"] = shown(await client.infer(asked))
    await client.close()
    return answers


async def main() -> None:
    rest_port, grpc_port, model, text = sys.argv[1:]
    tensors = json.loads(text)
    rest = await ask_rest(f"http://127.0.0.1:{rest_port}", model, tensors)
    grpc = await ask_grpc(f"127.0.0.1:{grpc_port}", model, tensors)
    print(json.dumps({"rest": rest, "grpc": grpc}))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    asyncio.run(main())
