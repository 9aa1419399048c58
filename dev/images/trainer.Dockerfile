ARG BASE=python:3.11-slim-bookworm
# Or the name of an image that an earlier build has made of that stage.
ARG DEPENDENCIES=dependencies

FROM ${BASE} AS dependencies
COPY --from=packages . /opt/modelyard/dependencies
# Hash-checked bytecode stays valid whatever an image builder does to the files' times.
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/modelyard/dependencies"]

FROM ${DEPENDENCIES}
COPY operator/modelyard /opt/modelyard/package/modelyard
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/modelyard/package"]
ENV PYTHONPATH=/opt/modelyard/package:/opt/modelyard/dependencies PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
# Threads that wait by spinning take the processor from those that work, several times over in a pod with a CPU limit.
ENV OMP_WAIT_POLICY=PASSIVE
USER 65532:65532
ENTRYPOINT ["python"]
