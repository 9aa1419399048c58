"""What has to be there before a run: Debian packages, and a virtual environment for each peer."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from dev.cluster.errors import ClusterError
from dev.cluster.machine import install_packages
from dev.cluster.paths import Report, cache_dir
from dev.shell import run

REQUIREMENTS: Final = Path(__file__).parent / "peers" / "requirements"
_PACKAGES: Final = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux"}
_INSTALL_SECONDS: Final = 600


class EnvironmentMissingError(RuntimeError):
    """Something cannot be had; the message says what, and how to get it."""


def require_programs(report: Report) -> None:
    """Install the load generator and the static server where that is possible.

    Raises:
        EnvironmentMissingError: one is missing and cannot be installed.
    """
    missing = [package for command, package in _PACKAGES.items() if not shutil.which(command)]
    if not missing:
        return
    if os.geteuid() != 0:
        raise EnvironmentMissingError(f"these programs are missing: sudo apt-get install {' '.join(missing)}")
    try:
        install_packages(report, _PACKAGES)
    except ClusterError as error:
        raise EnvironmentMissingError(f"{error}; needed: {' '.join(missing)}") from None


def python_of(peer: str, report: Report) -> Path:
    """Return the interpreter of a peer's own environment, installing it when its pinned versions have changed.

    Raises:
        CommandError: a package cannot be installed.
    """
    requirements = REQUIREMENTS / f"{peer}.txt"
    folder = cache_dir() / "bench" / "venvs" / peer
    python = folder / "bin" / "python"
    mark = folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return python
    report(f"installing {peer} into {folder}")
    uv = Path(sys.executable).with_name("uv")
    run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], timeout=_INSTALL_SECONDS)
    run([uv, "pip", "install", "--quiet", "--python", python, "-r", requirements], timeout=_INSTALL_SECONDS)
    mark.write_text(wanted)
    return python


def pinned_version(peer: str) -> str:
    """The peer's own version in its requirements."""
    lines = (REQUIREMENTS / f"{peer}.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{peer}=="))


def program_versions() -> dict[str, str]:
    """What the Debian programs say of themselves."""
    said = {
        "wrk": subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False, timeout=10).stdout,
        "nginx": subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False, timeout=10).stderr,
    }
    return {name: text.splitlines()[0] if text else "" for name, text in said.items()}
