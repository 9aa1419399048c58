"""Measures of what the README claims."""
