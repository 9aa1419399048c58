"""Where a model came from and where it went: the graph, its documents, and running it again. Pure."""
