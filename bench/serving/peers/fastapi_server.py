"""What one would write by hand: FastAPI with a typed body, on uvicorn with httptools and uvloop.

The model is run on the event loop: handing a run of microseconds to a thread would cost more than the run.
"""

import os
import sys
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

from bench.serving.peers.onnx_model import OnnxModel


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float] | list[str]


class InferenceRequest(BaseModel):
    inputs: list[Tensor]


def application(path: Path) -> FastAPI:
    model = OnnxModel(path)
    app = FastAPI()

    @app.post("/v2/models/bench/infer")
    async def infer(request: InferenceRequest) -> Response:
        answer = model.answer({"inputs": [tensor.__dict__ for tensor in request.inputs]})
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(Path(os.environ["BENCH_MODEL"])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
    )
