"""Writes what is derived from a record beside it: `run.json` and the documents of docs/lineage.md."""

import logging
import os
from typing import Final

from modelyard import __version__
from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.lineage.documents import Subject, documents
from modelyard.lineage.documents.subject import hexadecimal
from modelyard.lineage.run import RUN_FILE, parse_run, run_from_environment
from modelyard.model.signature import Signature
from modelyard.storage.blobs import blob_key
from modelyard.storage.manifests import MAX_MANIFEST_BYTES, parse_manifest
from modelyard.storage.objects import Store, read_all

_LOG: Final = logging.getLogger(__name__)


def write_documents(store: Store, record: ModelVersionSpec, signature: Signature) -> None:
    """Write the documents of a record that has just been written, which makes its folder this run's alone.

    Raises:
        ValueError: the run in the environment is not the one that the record names.
        StorageError: the store cannot be read or written.
    """
    if record.lineage is None or record.lineage.run_digest is None:
        return
    text = run_from_environment(os.environ, record.lineage.run_digest)
    manifest = parse_manifest(read_all(store, blob_key(hexadecimal(record.artifact.digest)), MAX_MANIFEST_BYTES))
    subject = Subject(
        record=record, run=parse_run(text), files=manifest.files, signature=signature, modelyard_version=__version__
    )
    written = {RUN_FILE: text, **documents(subject)}
    for name, content in written.items():
        store.put(f"models/{record.model}/v{record.version}/{name}", content.encode())
    _LOG.info("wrote %s beside the record", ", ".join(written))
