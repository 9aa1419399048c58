"""Modelyard: train, version, serve and watch models on Kubernetes."""
