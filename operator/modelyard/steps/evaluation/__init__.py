"""Judging a model: it and the champion score the same rows, and statistics decide (docs/contracts.md)."""
