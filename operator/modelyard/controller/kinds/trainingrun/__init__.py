"""TrainingRun: ordered steps as Jobs, and one ModelVersion at the end."""
