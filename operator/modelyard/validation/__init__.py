"""Checks of rows before training: what is in them, what was expected, and how they differ from the previous run's."""
