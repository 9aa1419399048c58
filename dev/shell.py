"""Running the programs that the demo and the tests drive, with a deadline and an error that says what happened."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandError(RuntimeError):
    """A program failed; the text has its command and the end of its output."""


def run(
    command: Sequence[str | Path],
    *,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Raises:
        CommandError: It failed or took longer than `timeout` seconds.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(words)} took longer than {timeout:.0f} s") from error
    if done.returncode:
        tail = (done.stderr or done.stdout).strip()[-2000:]
        raise CommandError(f"{' '.join(words)} exited {done.returncode}: {tail}")
    return done.stdout
