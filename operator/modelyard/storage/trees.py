"""Trees of files on the local disk, which no link leads out of: user code's are read, fetched ones are written."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelyard.storage.errors import DiskFull, InvalidSource, OutputEmpty, OutputMissing, OutputRefused
from modelyard.storage.manifests import MAX_FILES, check_path

MAX_DEPTH: Final = 64
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO that took a file's place would block for ever.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Limits:
    """Most that an output may hold."""

    files: int = MAX_FILES
    bytes: int = 2**42


@dataclass(frozen=True)
class LocalFile:
    """A regular file of a tree: its path beneath the tree's folder, and its size."""

    path: str
    size: int
    changed_ns: int = field(default=0, compare=False)
    """When its bytes, its name or its rights last changed, by the kernel's clock: no program can set it."""


def scan_output(folder: Path, limits: Limits = Limits()) -> tuple[LocalFile, ...]:
    """List the files of an output, sorted by path. Empty folders do not count.

    Raises:
        OutputMissing: there is no such folder.
        OutputEmpty: it holds no file.
        OutputRefused: it holds links, files with several names, special files, or more than the limits allow.
    """
    files: list[LocalFile] = []
    total = 0
    with _opened_output(folder) as root:
        for file in _walk(root, "", 0):
            files.append(file)
            total += file.size
            if len(files) > limits.files or total > limits.bytes:
                raise OutputRefused(
                    f"output '{folder.name}': must hold at most {limits.files} files and {limits.bytes} bytes"
                )
    if not files:
        raise OutputEmpty(f"output '{folder.name}': holds no file; write at least one to {folder}")
    return tuple(sorted(files, key=lambda file: file.path))


@contextmanager
def open_beneath(folder: Path, path: str) -> Iterator[int]:
    """Open a regular file for reading; nothing on the way from `folder` to it may be a link.

    Raises:
        OutputRefused: something on the way is a link, or the file is not regular or has several names.
        FileNotFoundError: it is not there.
    """
    *folders, name = path.split("/")
    current = os.open(folder, _FOLDER)
    try:
        for part in folders:
            current = _exchange(current, _open(part, _FOLDER, current, path))
        current = _exchange(current, _open(name, _FILE, current, path))
        _require_plain_file(os.fstat(current), path)
        yield current
    finally:
        os.close(current)


@contextmanager
def create_beneath(folder: Path, path: str) -> Iterator[int]:
    """Open a new file for writing beneath `folder`, in place of an old one, making the folders on the way.

    Raises:
        InvalidSource: the path is not a plain relative one.
        DiskFull: the volume is full, also while the caller writes.
    """
    check_path(path)
    *folders, name = path.split("/")
    current = os.open(folder, _FOLDER)
    try:
        with _disk_full_named(folder):
            for part in folders:
                _make_folder(part, current)
                current = _exchange(current, os.open(part, _FOLDER, dir_fd=current))
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=current)
            current = _exchange(current, os.open(name, _NEW_FILE, 0o644, dir_fd=current))
            yield current
    finally:
        os.close(current)


@contextmanager
def _disk_full_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(f"the volume of {folder} is full; give the pod more ephemeral storage") from None


def _make_folder(name: str, parent: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new


def _open(name: str, flags: int, parent: int, path: str) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise OutputRefused(f"'{path}': must be a regular file that is not reached through a link") from None
        raise


def _require_plain_file(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OutputRefused(f"'{path}': must be a regular file, not a link, device, socket or pipe")
    if status.st_nlink != 1:
        raise OutputRefused(f"'{path}': must have one name, has {status.st_nlink} (hard links)")


@contextmanager
def _opened_output(folder: Path) -> Iterator[int]:
    try:
        root = os.open(folder, _FOLDER)
    except FileNotFoundError:
        raise OutputMissing(f"output '{folder.name}': the step left no folder {folder}") from None
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise OutputRefused(f"output '{folder.name}': {folder} must be a folder, not a file or link") from None
    try:
        yield root
    finally:
        os.close(root)


def _walk(folder: int, prefix: str, depth: int) -> Iterator[LocalFile]:
    if depth > MAX_DEPTH:
        raise OutputRefused(f"'{prefix[:80]}…': folders must be nested at most {MAX_DEPTH} deep")
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            _require_path(path)
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                _require_plain_file(status, path)
                yield LocalFile(path, status.st_size, status.st_ctime_ns)
                continue
            child = _open(entry.name, _FOLDER, folder, path)
            try:
                yield from _walk(child, path + "/", depth + 1)
            finally:
                os.close(child)


def _require_path(path: str) -> None:
    try:
        check_path(path)
    except InvalidSource as error:
        raise OutputRefused(str(error)) from None
