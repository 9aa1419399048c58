"""`modelyard` and `kubectl modelyard`: what a person asks of their models."""
