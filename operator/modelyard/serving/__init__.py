"""The model server: one verified ONNX model behind the Open Inference Protocol V2 (docs/serving.md)."""
