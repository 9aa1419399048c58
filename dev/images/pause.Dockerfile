# Holds a pod's namespaces open; catatonit also reaps its orphans.
FROM scratch
COPY catatonit /catatonit
USER 65532:65532
ENTRYPOINT ["/catatonit", "-P"]
