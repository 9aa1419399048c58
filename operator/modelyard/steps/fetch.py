"""The program of the init container `fetch`: brings inputs to the pod, every byte verified."""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelyard.steps import termination, workspace
from modelyard.steps.workspace import SourceSpec
from modelyard.storage.checkpoints import Checkpoints, checkpoints_uri
from modelyard.storage.errors import InvalidSource
from modelyard.storage.objects import STORE_URI, ObjectStore
from modelyard.storage.resumes import settle
from modelyard.storage.retry import Patience
from modelyard.storage.sources import fetch_source, list_source

REASONS: Final = {
    reason: reason
    for reason in (
        "InputNotFound",
        "RefNotFound",
        "AccessDenied",
        "StoreUnreachable",
        "DigestMismatch",
        "InvalidSource",
        "DiskFull",
    )
}
REFERENCE_FILE: Final = ".reference.json"
_LOG: Final = logging.getLogger(__name__)


def main() -> Mapping[str, Any]:
    """Fetch all sources, then prepare the workspace.

    Returns:
        Of a step that keeps checkpoints, how often it went on from one, and what work was lost.

    Raises:
        StorageError: with one of REASONS.
    """
    patience = Patience(workspace.store_deadline_seconds(), _LOG.info)
    inputs = workspace.inputs_folder()
    for source in workspace.sources():
        if source.mode == workspace.REFERENCE:
            _refer(source, inputs)
        else:
            _fetch(source, inputs, patience)
    _write_parameters(inputs)
    _make_workspace(workspace.outputs_folder())
    checkpoint = workspace.checkpoint_folder()
    return _resume(checkpoint, patience) if checkpoint else {}


def _fetch(source: SourceSpec, inputs: Path, patience: Patience) -> None:
    start = time.monotonic()
    _LOG.info("%s: looking at %s", source.name, source.uri)
    listing = patience.call(lambda: list_source(source.uri, version=source.version))
    if listing.files:
        _LOG.info("%s: fetching %d files, %.1f MB", source.name, len(listing.files), listing.bytes / 1e6)
    identity = fetch_source(listing, source.digest, inputs / source.name, patience)
    seconds = time.monotonic() - start
    _LOG.info("%s: verified %s (%.1f MB in %.1f s)", source.name, identity.digest, identity.bytes / 1e6, seconds)


def _refer(source: SourceSpec, inputs: Path) -> None:
    """Say where an input is, for user code that reads it itself."""
    reference = {"uri": source.uri, "digest": source.digest, "version": source.version}
    folder = inputs / source.name
    folder.mkdir(exist_ok=True)
    (folder / REFERENCE_FILE).write_text(json.dumps(reference), encoding="utf-8")
    _LOG.info("%s: is %s, not fetched", source.name, source.uri)


def _write_parameters(inputs: Path) -> None:
    text = os.environ.get("MODELYARD_PARAMETERS")
    if text is None:
        return
    try:
        json.loads(text)
    except ValueError:
        raise InvalidSource("MODELYARD_PARAMETERS: must be JSON") from None
    folder = inputs / ".modelyard"
    folder.mkdir(exist_ok=True)
    (folder / "parameters.json").write_text(text, encoding="utf-8")


def _make_workspace(outputs: Path) -> None:
    """Make the folders that user code expects; a model server's pod has no workspace."""
    if not outputs.parent.is_dir():
        return
    (outputs.parent / "tmp").mkdir(exist_ok=True)
    for name in workspace.output_names():
        (outputs / name).mkdir(parents=True, exist_ok=True)


def _resume(folder: Path, patience: Patience) -> Mapping[str, Any]:
    """Bring back the newest checkpoint; the first pod of a group draws the balance of what was lost."""
    uri = checkpoints_uri(
        workspace.require(STORE_URI), workspace.require("MODELYARD_RUN_UID"), workspace.require("MODELYARD_STEP")
    )
    store = patience.call(lambda: ObjectStore(uri))
    checkpoint = Checkpoints(store).restore(folder, patience)
    folder.mkdir(exist_ok=True)
    if checkpoint:
        _LOG.info("goes on from checkpoint %d of %s", checkpoint.number, checkpoint.time.isoformat())
    if workspace.rank() > 0:
        return {}
    balance = patience.call(lambda: settle(store, checkpoint.time if checkpoint else None))
    return {"resumes": balance.resumes, "lostSeconds": balance.lost_seconds}


if __name__ == "__main__":
    termination.run(main, REASONS)
