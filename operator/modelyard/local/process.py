"""Child processes: their output line by line, a deadline, and an end that takes all of their children along."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Final

MAX_LOG_BYTES: Final = 64 * 1024 * 1024
MAX_LINE_BYTES: Final = 16 * 1024
GRACE_SECONDS: Final = 10.0
REMOVE_SECONDS: Final = 30.0
TICK_SECONDS: Final = 0.1
_CHUNK_BYTES: Final = 64 * 1024
_CUT: Final = b"\n[the log ends here: it is too large]\n"


class Ending(Enum):
    """Why a process ended."""

    EXITED = "Exited"
    DEADLINE = "Deadline"
    STOPPED = "Stopped"


@dataclass(frozen=True)
class Exit:
    """How a process ended. `code` is negative when a signal ended it, 127 when it could not be started."""

    ending: Ending
    code: int


class Log:
    """A file that takes at most MAX_LOG_BYTES, and a listener for its lines."""

    def __init__(self, file: Path, listen: Callable[[str], None]) -> None:
        """Begin a new file. `show` says whether lines are passed to the listener, too."""
        self.show = False
        file.parent.mkdir(parents=True, exist_ok=True)
        self._out = file.open("wb")
        self._left = MAX_LOG_BYTES
        self._listen = listen
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Take output."""
        if 0 < self._left < len(data):
            self._out.write(data[: self._left] + _CUT)
        elif self._left > 0:
            self._out.write(data)
        self._left -= len(data)
        if self.show:
            for line in self._lines(data):
                self._listen(line)

    def flush(self) -> None:
        """Show a last line that has no end, and let the file have everything."""
        if self._rest:
            self._listen(_text(self._rest))
            self._rest = b""
        self._out.flush()

    def close(self) -> None:
        """End the file."""
        self.flush()
        self._out.close()

    def _lines(self, data: bytes) -> Iterator[str]:
        *whole, rest = (self._rest + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            whole, rest = [*whole, rest], b""
        self._rest = rest
        yield from map(_text, whole)


@dataclass(frozen=True)
class Watch:
    """What is looked at every TICK_SECONDS while a process runs.

    Attributes:
        deadline: when it has to end, by `time.monotonic()`; None = never.
        stopped: says whether it is to end now.
        tick: is called.
    """

    deadline: float | None
    stopped: Callable[[], bool]
    tick: Callable[[], None]


def run_process(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Log, watch: Watch
) -> Exit:
    """Run a command to its end, and end what it started.

    Args:
        command: program and arguments.
        environment: all of its environment.
        folder: where it runs.
        log: takes its output and errors.
        watch: ends it early.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - running the user's command is the point
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        log.write(f"{command[0]}: cannot be started: {error.strerror}\n".encode())
        log.flush()
        return Exit(Ending.EXITED, 127)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with process.stdout as output:
        ending = _follow(process, output, log, watch)
        if ending is not Ending.EXITED:
            _end(process)
        _kill_group(process)  # whatever it left behind
        process.wait()
        _drain(output, log)
    log.flush()
    return Exit(ending, process.returncode)


def remove_container(engine: str, name: str) -> None:
    """Remove a container that outlived the engine's command, if there is one."""
    with suppress(subprocess.TimeoutExpired, OSError):
        subprocess.run(  # noqa: S603 - docker or podman, as found on the PATH
            [engine, "rm", "--force", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=REMOVE_SECONDS,
            check=False,
        )


def _follow(process: subprocess.Popen[bytes], output: IO[bytes], log: Log, watch: Watch) -> Ending:
    os.set_blocking(output.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while process.poll() is None:
            if watch.stopped():
                return Ending.STOPPED
            if watch.deadline is not None and time.monotonic() >= watch.deadline:
                return Ending.DEADLINE
            if selector.get_map() and selector.select(TICK_SECONDS):
                if not _pass_on(output, log):
                    selector.unregister(output)
            elif not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TICK_SECONDS)
            watch.tick()
    return Ending.EXITED


def _pass_on(output: IO[bytes], log: Log) -> bool:
    """Pass one chunk on, and say whether more may come."""
    chunk = output.read(_CHUNK_BYTES)
    if chunk is None:
        return True
    log.write(chunk)
    return bool(chunk)


def _drain(output: IO[bytes], log: Log) -> None:
    left = MAX_LOG_BYTES
    while left > 0 and (chunk := output.read(_CHUNK_BYTES)):
        log.write(chunk)
        left -= len(chunk)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _text(line: bytes) -> str:
    return line[:MAX_LINE_BYTES].decode(errors="replace").rstrip("\r")
