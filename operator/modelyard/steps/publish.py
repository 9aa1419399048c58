"""The program of the container `publish`: keeps what a step's user code left, under the digest of its bytes."""

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from modelyard.steps import termination, workspace
from modelyard.steps.metric_lines import parse_lines
from modelyard.storage.blobs import BlobWriter, PublishedTree
from modelyard.storage.errors import OutputRefused
from modelyard.storage.objects import STORE_URI, ObjectStore
from modelyard.storage.results import result_key, to_json
from modelyard.storage.retry import Patience
from modelyard.storage.trees import LocalFile, open_beneath, scan_output

MODEL_OUTPUT: Final = "model"
MAX_METRICS_BYTES: Final = 16 * 1024 * 1024
REASONS: Final = {
    **{
        reason: reason
        for reason in (
            "OutputMissing",
            "OutputEmpty",
            "OutputRefused",
            "InvalidModel",
            "ArtifactCorrupt",
            "AccessDenied",
            "StoreUnreachable",
        )
    },
    "DataInvalid": "DataInvalid",
    # A store that is named wrongly, or whose bucket is gone, cannot be reached either.
    "InvalidSource": "StoreUnreachable",
    "InputNotFound": "StoreUnreachable",
}
_LOG: Final = logging.getLogger(__name__)


class WorkFailedError(Exception):
    """The work before publish did not succeed, though it left outputs that are kept; it carries the work's reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def main() -> Mapping[str, Any]:
    """Check all outputs, upload them, then record the result.

    Returns:
        The result, as docs/contracts.md has it; nothing from any but the first pod of a group.

    Raises:
        StorageError: with one of REASONS.
        InvalidModel: the output `model` is no model directory.
        WorkFailedError: MODELYARD_FAILURE_FILE is there; all is kept, yet the step has failed.
    """
    ended = workspace.ended_file()
    if ended:
        ended.touch()
    if workspace.rank() > 0:
        _LOG.info("the pod of rank 0 publishes the outputs")
        return {}
    patience = Patience(workspace.store_deadline_seconds(), _LOG.info)
    outputs = workspace.outputs_folder()
    scanned = {name: scan_output(outputs / name) for name in workspace.output_names()}
    if MODEL_OUTPUT in scanned:
        _check_model(outputs / MODEL_OUTPUT)
    metrics = read_metrics(workspace.metrics_file())
    failure = _failure()
    store = ObjectStore(workspace.require(STORE_URI))
    writer = BlobWriter(store, patience)
    published = {name: _upload(writer, outputs / name, files) for name, files in scanned.items()}
    result = {
        "outputs": [
            {"name": name, "uri": tree.uri, "digest": tree.digest, "bytes": tree.bytes}
            for name, tree in published.items()
        ],
        "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
    }
    key = result_key(
        workspace.require("MODELYARD_RUN_UID"),
        workspace.require("MODELYARD_STEP"),
        int(workspace.require("MODELYARD_ATTEMPT")),
    )
    kept = {**result, "failure": failure} if failure else result
    patience.call(lambda: store.put(key, to_json(kept)))
    if failure:
        raise WorkFailedError(failure["reason"], failure["message"])
    return result


def read_metrics(path: Path) -> Mapping[str, str]:
    """Return the metrics that user code left; none when there is no file.

    Raises:
        OutputRefused: the file is a link, special, or too large.
    """
    with suppress(FileNotFoundError), open_beneath(path.parent, path.name) as descriptor:
        if os.fstat(descriptor).st_size > MAX_METRICS_BYTES:
            raise OutputRefused(f"'{path.name}': must be at most {MAX_METRICS_BYTES} bytes")
        with open(descriptor, "rb", closefd=False) as lines:
            said = parse_lines(lines)
        if said.refused:
            _LOG.warning('%s: %d lines were skipped: not {"name": <text>, "value": <number>}', path.name, said.refused)
        return said.metrics
    return {}


def _failure() -> dict[str, str] | None:
    """Return why the work failed, as our own container before this one has left it; user code has no such file."""
    path = os.environ.get("MODELYARD_FAILURE_FILE")
    if not path or not Path(path).is_file():
        return None
    match json.loads(Path(path).read_text(encoding="utf-8")):
        case {"reason": str(reason), "message": str(message)}:
            return {"reason": reason, "message": message}
        case _:
            raise ValueError("MODELYARD_FAILURE_FILE: must be a JSON object with a reason and a message")


def _check_model(folder: Path) -> None:
    from modelyard.model import load_model_directory  # noqa: PLC0415 - most steps publish no model and start faster

    load_model_directory(folder)


def _upload(writer: BlobWriter, folder: Path, files: tuple[LocalFile, ...]) -> PublishedTree:
    start = time.monotonic()
    _LOG.info("%s: uploading %d files, %.1f MB", folder.name, len(files), sum(file.size for file in files) / 1e6)
    tree = writer.upload_tree(folder, files)
    _LOG.info("%s: published %s (%.1f s)", folder.name, tree.digest, time.monotonic() - start)
    return tree


if __name__ == "__main__":
    termination.run(main, REASONS)
