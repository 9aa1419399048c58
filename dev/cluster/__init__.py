"""One Kubernetes for development and tests: from `kind` where Docker runs, otherwise on the bare machine."""
