ARG BASE=python:3.11-slim-bookworm
# Or the name of an image that an earlier build has made of that stage.
ARG DEPENDENCIES=dependencies

FROM ${BASE} AS dependencies
COPY --from=packages . /opt/modelyard/dependencies
# Bytecode without documentation strings and assertions takes less memory and time; the standard library's is not there yet.
RUN ["python", "-c", "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, optimize=2)"]
# Hash-checked bytecode stays valid whatever an image builder does to the files' times.
RUN ["python", "-m", "compileall", "-q", "-o", "2", "--invalidation-mode", "unchecked-hash", "/opt/modelyard/dependencies"]

FROM ${DEPENDENCIES}
COPY operator/modelyard /opt/modelyard/package/modelyard
RUN ["python", "-m", "compileall", "-q", "-o", "2", "--invalidation-mode", "unchecked-hash", "/opt/modelyard/package"]
ENV PYTHONPATH=/opt/modelyard/package:/opt/modelyard/dependencies PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 PYTHONOPTIMIZE=2
# NumPy only moves tensors here; starting its threads would take a third of a cold start.
ENV OPENBLAS_NUM_THREADS=1
USER 65532:65532
ENTRYPOINT ["python", "-m", "modelyard.serving"]
