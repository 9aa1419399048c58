"""Deployment: resolve a version, roll its revision out, keep it serving."""
