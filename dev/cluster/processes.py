"""Long-lived processes that are known by pid and start time, so that a reused pid is never signalled."""

import contextlib
import hashlib
import json
import os
import select
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.cluster.errors import ClusterError
from dev.cluster.paths import write_if_changed

MARKER = "MODELYARD_PROCESSES"
_START_TIME_FIELD = 19  # of /proc/<pid>/stat, counted after the command's name


@dataclass(frozen=True)
class Process:
    """A process of this boot."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether this very process is still running."""
        return identify(self.pid) == self


def identify(pid: int) -> Process | None:
    """Return the running process that has a pid now; None also for a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Process(pid, f"{boot}/{fields[_START_TIME_FIELD]}")


def stop(process: Process, *, grace_seconds: float) -> None:
    """End a process: SIGTERM, then SIGKILL after the grace period; returns when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The handle keeps the pid from meaning another process between the check and the signal.
        if not process.alive():
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _exited(handle, grace_seconds):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _exited(handle, 10)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
        _reap(process.pid)


def _exited(handle: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # it was started by an earlier command
        os.waitpid(pid, os.WNOHANG)


@dataclass(frozen=True)
class _Record:
    process: Process
    fingerprint: str


class Processes:
    """The processes of one cluster, recorded in a folder, each with its log.

    Every process also carries the folder in its environment: it finds those that were started but not
    recorded (a crash in between) and the children that outlive their parent (containerd's shims).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self._folder / f"{name}.log"

    def running(self, name: str) -> Process | None:
        """Return a recorded process if it runs."""
        record = self._record(name)
        return record.process if record and record.process.alive() else None

    def ensure(self, name: str, command: Sequence[str], *, configuration: Iterable[Path] = ()) -> None:
        """Start a process unless it runs with this very command and configuration.

        Args:
            name: what it is recorded as.
            command: absolute path of the binary, and its arguments.
            configuration: files whose change means a restart.
        """
        fingerprint = _fingerprint(command, configuration)
        record = self._record(name)
        if record and record.process.alive():
            if record.fingerprint == fingerprint:
                return
            stop(record.process, grace_seconds=10)
        self._stop_unrecorded(command[0])
        process = self._spawn(name, command)
        text = json.dumps({**asdict(process), "fingerprint": fingerprint})
        write_if_changed(self._folder / f"{name}.json", text)

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """End a recorded process and forget it."""
        process = self.running(name)
        if process:
            stop(process, grace_seconds=grace_seconds)
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def marked(self) -> Iterator[Process]:
        """Yield every running process that was started here or descends from one that was."""
        mark = f"{MARKER}={self._folder}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                process = identify(int(entry.name))
                if process:
                    yield process

    def require(self, name: str) -> None:
        """Fail with the end of the log if a process has ended.

        Raises:
            ClusterError: it is not running.
        """
        if self.running(name) is None:
            log = self.log(name)
            lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
            raise ClusterError(f"{name} ended; the end of {log}:\n" + "\n".join(lines))

    def _stop_unrecorded(self, binary: str) -> None:
        """End what an earlier start had no time to record."""
        for process in self.marked():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{process.pid}/exe").readlink() == Path(binary).resolve():
                    stop(process, grace_seconds=10)

    def _record(self, name: str) -> _Record | None:
        try:
            record = json.loads((self._folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return _Record(Process(record["pid"], record["started"]), record["fingerprint"])

    def _spawn(self, name: str, command: Sequence[str]) -> Process:
        self._folder.mkdir(parents=True, exist_ok=True)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            command[0],
            list(command),
            {**os.environ, MARKER: str(self._folder)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log(name)), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        process = identify(pid)
        if process is None:
            raise ClusterError(f"{command[0]} ended at once; see {self.log(name)}")
        return process


def _fingerprint(command: Sequence[str], configuration: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(command).encode())
    for path in configuration:
        digest.update(path.read_bytes())
    return digest.hexdigest()
