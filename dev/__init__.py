"""What a developer's machine needs: a local Kubernetes, images, demo data. Standard library only."""
