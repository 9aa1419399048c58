"""A runtime of MLServer's for ONNX models."""

from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from typing_extensions import override

from bench.serving.peers.onnx_model import OnnxModel, datatype


class OnnxRuntime(MLModel):
    @override
    async def load(self) -> bool:
        self._model = OnnxModel(Path(self.settings.parameters.uri))
        return True

    @override
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {t.name: self._model.array(t.name, t.shape, t.data.root) for t in payload.inputs}
        outputs = [
            ResponseOutput(name=name, datatype=datatype(array), shape=list(array.shape), data=array.ravel().tolist())
            for name, array in self._model.run(inputs).items()
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
