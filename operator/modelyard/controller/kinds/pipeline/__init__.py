"""Pipelines: a recipe, and what makes it run again."""
