"""Fetching the page that explains a version's evaluation, from the store that holds its bytes."""

from pathlib import Path
from typing import Final

from modelyard.api.v1alpha1 import ModelVersion
from modelyard.storage.manifests import digest_of

MAX_REPORT_BYTES: Final = 16 * 1024 * 1024


class ReportError(Exception):
    """There is no report, or it cannot be read; the text says why and what to do."""


def store_of(version: ModelVersion) -> str:
    """Return the URI of the store in which a run has recorded a version.

    Raises:
        ReportError: the version was not recorded by a run.
    """
    root, found, _ = version.spec.artifact.uri.rpartition("blobs/sha256/")
    if not found or version.spec.lineage is None:
        raise ReportError(f"'{version.metadata.name}' was registered by hand, so it has no report")
    return root


def fetch_report(version: ModelVersion) -> bytes:
    """Return the page, verified. Credentials are the caller's own, from the environment.

    Raises:
        ReportError: the version was not evaluated, or the store does not hold its report.
    """
    evaluation = version.spec.evaluation
    if evaluation is None or evaluation.report_digest is None:
        raise ReportError(f"'{version.metadata.name}' was not evaluated with a report")
    root = store_of(version)
    page = _read(root, version)
    digest = digest_of(page)
    if digest != evaluation.report_digest:
        raise ReportError(
            f"the report of '{version.metadata.name}' in {root} is not the one of its record: it hashes to {digest}, "
            f"must hash to {evaluation.report_digest}"
        )
    return page


def write_report(file: Path, page: bytes) -> None:
    """Write the page.

    Raises:
        ReportError: the file cannot be written.
    """
    try:
        file.write_bytes(page)
    except OSError as error:
        raise ReportError(f"{file}: {error.strerror}; choose another file with -o") from None


def _read(root: str, version: ModelVersion) -> bytes:
    try:
        from modelyard.storage.errors import StorageError  # noqa: PLC0415 - only this command needs obstore
        from modelyard.storage.objects import ObjectStore, read_all  # noqa: PLC0415
        from modelyard.storage.records import report_key  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ReportError(f"{error.name} is missing: pip install 'modelyard[cli]'") from None
    try:
        key = report_key(version.spec.model, version.spec.version)
        return read_all(ObjectStore(root), key, MAX_REPORT_BYTES)
    except StorageError as error:
        raise ReportError(f"{error}; this command reads with your own credentials, such as AWS_ACCESS_KEY_ID") from None
