"""KServe's Python model server with one model."""

import logging
import os
from pathlib import Path

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from typing_extensions import override

from bench.serving.peers.onnx_model import OnnxModel, datatype


class OnnxPredictor(Model):
    def __init__(self) -> None:
        super().__init__("bench")
        self.model = OnnxModel(Path(os.environ["BENCH_MODEL"]))
        self.ready = True

    @override
    async def predict(self, payload: InferRequest, headers: object = None, response_headers: object = None) -> object:
        outputs = []
        for name, array in self.model.run({tensor.name: tensor.as_numpy() for tensor in payload.inputs}).items():
            output = InferOutput(name=name, shape=list(array.shape), datatype=datatype(array))
            output.set_data_from_numpy(np.ascontiguousarray(array), binary_data=payload.use_binary_outputs)
            outputs.append(output)
        return InferResponse(
            response_id=payload.id or "",
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=payload.use_binary_outputs,
        )


if __name__ == "__main__":
    logging.disable(logging.INFO)
    ModelServer().start([OnnxPredictor()])
