"""The project's container images, from the same Dockerfiles by docker or by buildah."""
