"""From a fitted model to a model directory (docs/contracts.md): ONNX, signature, baseline and golden examples."""
