"""What can go wrong with bytes; each error carries the reason under which conditions and messages show it."""

from typing import ClassVar


class StorageError(Exception):
    """Base of all errors of this package; the message names the thing and says what to do."""

    reason: ClassVar[str]


class InvalidSource(StorageError):  # noqa: N818 - errors here are named like their reasons
    """The URI or the store's configuration cannot be used; retrying does not help."""

    reason = "InvalidSource"


class InvalidManifest(InvalidSource):
    """A manifest, or a path or file list that is to become one, breaks the rules."""


class ObjectNotFound(StorageError):  # noqa: N818
    """There is no such object, bucket or prefix."""

    reason = "InputNotFound"


class RefNotFound(StorageError):  # noqa: N818
    """A git repository has no such branch, tag or commit."""

    reason = "RefNotFound"


class InputChanging(StorageError):  # noqa: N818
    """A source was written again and again while it was read, so no digest stands for it yet."""

    reason = "InputChanging"


class AccessDenied(StorageError):  # noqa: N818
    """The store refused the credentials, or there are none."""

    reason = "AccessDenied"


class StoreUnreachable(StorageError):  # noqa: N818
    """The store did not answer, or answered that it is unwell; the only error that is worth a retry."""

    reason = "StoreUnreachable"


class AlreadyExists(StorageError):  # noqa: N818
    """A create-only write found an object."""

    reason = "AlreadyExists"


class DigestMismatch(StorageError):  # noqa: N818
    """Bytes were read that are not the ones that were asked for."""

    reason = "DigestMismatch"


class ArtifactCorrupt(StorageError):  # noqa: N818
    """The store holds other bytes under a content-addressed name than the name says."""

    reason = "ArtifactCorrupt"


class DiskFull(StorageError):  # noqa: N818
    """The local volume is full."""

    reason = "DiskFull"


class OutputMissing(StorageError):  # noqa: N818
    """A declared output folder is not there."""

    reason = "OutputMissing"


class OutputEmpty(StorageError):  # noqa: N818
    """A declared output folder holds no file."""

    reason = "OutputEmpty"


class OutputRefused(StorageError):  # noqa: N818
    """An output holds something that is not kept: links, special files, too much."""

    reason = "OutputRefused"
