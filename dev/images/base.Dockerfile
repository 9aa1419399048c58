# Stands in for python:3.11-slim-bookworm where no registry is reachable.
FROM scratch
ADD rootfs.tar /
