ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
COPY --from=dependencies . /opt/modelyard/dependencies
# Hash-checked bytecode stays valid whatever an image builder does to the files' times.
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/modelyard/dependencies"]
COPY operator/modelyard /opt/modelyard/package/modelyard
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/modelyard/package"]
ENV PYTHONPATH=/opt/modelyard/package:/opt/modelyard/dependencies PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["python", "-m", "modelyard.serving"]
