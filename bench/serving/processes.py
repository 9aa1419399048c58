"""A process and all that it starts: pinned to a core, frozen while it must not run, its CPU time and memory counted."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

SERVER_CORE: Final = 0
LOAD_CORE: Final = 1

_CPU_CLOCK: Final = 2
_QUIET_NANOSECONDS: Final = 1_000_000
_POLL_SECONDS: Final = 0.02
_SETTLE_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 30.0


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command, kept on one core with all that it starts."""
    return ["taskset", "--cpu-list", str(core), *command]


class Tree:
    """A running process and its descendants."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start a command on the servers' core; its environment is the given one and PATH, HOME and the like."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("MODELYARD_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                pinned(SERVER_CORE, command),
                env=inherited | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
            )

    @property
    def pids(self) -> list[int]:
        """The process first, then what it started, as far as it still runs."""
        found, unseen = [], [self.process.pid]
        while unseen:
            pid = unseen.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                unseen.extend(map(int, _read(children).split()))
        return found

    def cpu_seconds(self) -> float:
        """User and system time of the processes that run now, to the nanosecond (their CPU clocks)."""
        return sum(_cpu_nanoseconds(pid) for pid in self.pids) / 1e9

    def memory_bytes(self) -> int:
        """Resident memory; pages that processes share are counted for each of them."""
        texts = (_read(Path(f"/proc/{pid}/statm")) for pid in self.pids)
        return sum(int(text.split()[1]) for text in texts if text) * os.sysconf("SC_PAGE_SIZE")

    def freeze(self) -> None:
        """Let it finish what it is doing, then keep it from running."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        before, now = 0.0, self.cpu_seconds()
        while (now - before) * 1e9 > _QUIET_NANOSECONDS and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            before, now = now, self.cpu_seconds()
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Wait for its end, but no longer than this."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def stop(self) -> None:
        """End it, by force if need be, with all that it started."""
        pids = self.pids
        self._signal(signal.SIGCONT)
        if not self.ended():
            self.process.terminate()
            self.wait(_STOP_SECONDS)
        if not self.ended():
            self.process.kill()
        for pid in pids[1:]:
            _send(pid, signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            _send(pid, number)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _cpu_nanoseconds(pid: int) -> int:
    try:
        return time.clock_gettime_ns(~pid << 3 | _CPU_CLOCK)  # what clock_getcpuclockid(3) returns
    except OSError:
        return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
