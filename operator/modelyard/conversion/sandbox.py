"""Converts pickles in a process that can do little: the pickle is a stranger's, and scikit-learn trusts its state.

The child has no environment, no file descriptors of the parent, a temporary home, one processor, and limits on memory,
time, files and processes; it gets a network of its own where the kernel lets anybody make one. An audit hook refuses
what the work does not need. None of this replaces the pod, which has no credentials, no token and a read-only root.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from modelyard.conversion.errors import ColumnError, ConversionError
from modelyard.model import InvalidModel

LIMIT_EXCEEDED: Final = "LimitExceeded"
_MIB: Final = 1024 * 1024
_RESULT_BYTES: Final = 64 * 1024
_LOG_BYTES: Final = 4096
_CPU_GRACE_SECONDS: Final = 5
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_REFUSED_EVENTS: Final = (
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "socket.",
    "subprocess.Popen",
)
_ENVIRONMENT: Final = {
    # One thread each, so that no process or thread need be allowed.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JOBLIB_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Limits:
    """What the child may use."""

    memory_mib: int = 3072
    """Address space; about 1300 MiB of it are libraries."""
    cpu_seconds: int = 600
    seconds: int = 900
    """Wall clock."""
    file_mib: int = 2048
    """Size of one written file."""


@dataclass(frozen=True)
class Conversion:
    """What became of a pickle, and how far the child was locked in."""

    estimator: str
    maximum_difference: float
    rows: int
    own_network: bool
    """Had the child a network of its own, which leads nowhere?"""


class Refused(Exception):  # noqa: N818 - it is an answer
    """The pickle cannot be converted.

    Attributes:
        reason: CamelCase, for conditions.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def convert_in_sandbox(pickle: Path, samples: Path, folder: Path, limits: Limits | None = None) -> Conversion:
    """Convert a pickle in a process of its own (`pickles.convert_pickle` has the arguments).

    Raises:
        Refused: with the reason of a ConversionError, or LIMIT_EXCEEDED.
    """
    limits = limits or Limits()
    paths = {"pickle": pickle, "samples": samples, "folder": folder}
    task = {"limits": asdict(limits), **{name: str(path.absolute()) for name, path in paths.items()}}
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as log:
        code = _run([sys.executable, "-P", "-m", __name__, json.dumps(task)], home, said, log, limits)
        result = _read(said, 0, _RESULT_BYTES)
        tail = _read(log, max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES), _LOG_BYTES)
    return _conversion(code, result, tail, limits)


def _run(command: list[str], home: str, said: IO[bytes], log: IO[bytes], limits: Limits) -> int | None:
    environment = {**_ENVIRONMENT, "HOME": home, "TMPDIR": home, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=log, cwd=home, env=environment, start_new_session=True
    ) as child:
        try:
            return child.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _read(file: IO[bytes], start: int, size: int) -> str:
    file.seek(start)
    return file.read(size).decode(errors="replace")


def _conversion(code: int | None, result: str, log: str, limits: Limits) -> Conversion:
    if code is None:
        raise Refused(LIMIT_EXCEEDED, f"the conversion took longer than {limits.seconds} s")
    if code == -signal.SIGXCPU:
        raise Refused(LIMIT_EXCEEDED, f"the conversion took more than {limits.cpu_seconds} s of processor time")
    if code == -signal.SIGKILL:
        raise Refused(LIMIT_EXCEEDED, "the conversion was killed, most likely for want of memory")
    if code == -signal.SIGXFSZ:
        raise Refused(LIMIT_EXCEEDED, f"the conversion wrote a file of more than {limits.file_mib} MiB")
    try:
        answer: Any = json.loads(result)
        if code == 0:
            return Conversion(**answer)
        raise Refused(str(answer["reason"]), str(answer["message"]))
    except (ValueError, TypeError, KeyError):
        how = f"signal {-code}" if code < 0 else f"code {code}"
        last = " | ".join(log.splitlines()[-3:])
        raise Refused("PickleRefused", f"the reader of the pickle crashed ({how}): {last}") from None


def _main(task: Mapping[str, Any]) -> int:
    limits = Limits(**task["limits"])
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    own_network = _lock(limits)
    code, answer = 0, dict[str, Any](own_network=own_network)
    try:
        from modelyard.conversion.pickles import convert_pickle  # noqa: PLC0415 - the limits hold from the start

        sys.addaudithook(_refuse)
        converted = convert_pickle(Path(task["pickle"]), Path(task["samples"]), Path(task["folder"]))
        answer |= asdict(converted)
    except MemoryError:
        message = f"the conversion needs more than {limits.memory_mib} MiB of memory"
        code, answer = 1, {"reason": LIMIT_EXCEEDED, "message": message}
    except (ConversionError, ColumnError, InvalidModel) as error:
        code, answer = 1, {"reason": error.reason, "message": str(error)}
    os.write(answers, json.dumps(answer).encode())
    return code


def _lock(limits: Limits) -> bool:
    """Give up what the work does not need; return whether the process has a network of its own now."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    own_network: bool = ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK) == 0
    for what, wanted in (
        (resource.RLIMIT_AS, limits.memory_mib * _MIB),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_mib * _MIB),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # The kernel kills at once at the hard limit of time, and says why at the soft one.
        grace = _CPU_GRACE_SECONDS if what == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
        resource.setrlimit(what, (value, value + grace))
    return own_network


def _refuse(event: str, _: tuple[object, ...]) -> None:
    if event.startswith(_REFUSED_EVENTS):
        raise PermissionError(f"{event}: not in a sandbox")


if __name__ == "__main__":
    sys.exit(_main(json.loads(sys.argv[1])))
