"""What Modelyard does for each of its kinds: observe, decide, children."""
