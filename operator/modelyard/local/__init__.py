"""TrainingRuns on a laptop: the same files, digests and records as in a cluster, with child processes for pods."""
