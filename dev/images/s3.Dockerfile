# The demo's object store: versitygw, a static binary, serving a folder.
FROM scratch
COPY --from=binaries versitygw /versitygw
USER 65532:65532
ENTRYPOINT ["/versitygw"]
