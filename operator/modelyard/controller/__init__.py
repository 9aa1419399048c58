"""The operator: an engine that knows none of our kinds, and the kinds that stand on it."""
