"""Where binaries, images and the running cluster live."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

Report = Callable[[str], None]


def cache_dir() -> Path:
    """Return the folder of everything that is made once and kept (`$XDG_CACHE_HOME/modelyard`)."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "modelyard"


def state_dir() -> Path:
    """Return the folder of the running cluster (`$MODELYARD_STATE`); `down` removes it."""
    state = os.environ.get("MODELYARD_STATE")
    return Path(state).absolute() if state else cache_dir() / "cluster"


def kubeconfig_path() -> Path:
    """Return the cluster's own kubeconfig; no other kubeconfig is ever read or written."""
    return state_dir() / "kubeconfig"


@contextmanager
def locked(path: Path, report: Report, waiting_for: str) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel releases it should the process die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for {waiting_for} ({path} is locked)")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_if_changed(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file in one step, or leave it alone when it already says that."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.chmod(mode)
    partial.replace(path)
