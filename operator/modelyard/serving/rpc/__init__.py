"""The model server's gRPC side. Nothing outside this package imports grpc, so a server without it starts without it."""
