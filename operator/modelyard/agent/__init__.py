"""The agent of a tenant namespace: looks at the store for the operator, and writes Observations (docs/contracts.md)."""
