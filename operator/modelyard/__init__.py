"""Modelyard: train, version, serve and watch models on Kubernetes."""

__version__ = "0.1.0"
