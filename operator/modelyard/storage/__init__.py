"""Where bytes are kept: objects in a store, content-addressed blobs, trees of files (docs/contracts.md)."""
