"""What runs inside the pods of a run and before a model server (docs/contracts.md)."""
