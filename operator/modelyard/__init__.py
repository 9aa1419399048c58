"""Modelyard: train, version, serve and watch models on Kubernetes."""

import os

__version__ = "0.1.0"

# ONNX Runtime would store an identifier and send usage data. It looks when it is first loaded, wherever that happens.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
