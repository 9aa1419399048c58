"""Manifests on a laptop: read with their lines, and checked as the API server would."""
