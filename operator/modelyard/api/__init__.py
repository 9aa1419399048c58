"""The types of the Kubernetes API group `modelyard.dev`: the one source of the CRDs, their docs and the clients."""
