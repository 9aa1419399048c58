"""mosec: its front end in Rust, one worker process in Python, with or without its batching."""

import os
from pathlib import Path
from typing import Any

import orjson
from mosec import Server, Worker
from typing_extensions import override

from bench.serving.peers.onnx_model import OnnxModel

BATCH_SIZE = 64
BATCH_WAIT_MILLISECONDS = 1


class Single(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.model = OnnxModel(Path(os.environ["BENCH_MODEL"]))

    @override
    def deserialize(self, data: bytes) -> Any:
        return orjson.loads(data)

    @override
    def serialize(self, data: Any) -> bytes:
        return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)

    @override
    def forward(self, data: Any) -> Any:
        return self.model.answer(data)


class Batched(Single):
    @override
    def forward(self, data: Any) -> Any:
        return self.model.answer_all(data)


if __name__ == "__main__":
    server = Server()
    route = "/v2/models/bench/infer"
    if os.environ["BENCH_BATCHING"] == "on":
        server.append_worker(
            Batched, num=1, max_batch_size=BATCH_SIZE, max_wait_time=BATCH_WAIT_MILLISECONDS, route=route
        )
    else:
        server.append_worker(Single, num=1, route=route)
    server.run()
