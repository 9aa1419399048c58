"""Measures of the model server against its peers, by the method of docs/benchmarks.md."""
