"""An image's Python packages, installed on this machine into a folder that image builds copy."""

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dev.cluster.errors import ClusterError
from dev.cluster.paths import REPOSITORY, Report, cache_dir, locked

PYTHON = "3.11"
# The base's glibc is 2.36; pip wants every platform tag that may do, uv just the newest.
_GLIBC_MINORS = (36, 35, 34, 31, 28, 27, 26, 24, 17)


def requirements(image: str) -> Path:
    """Return an image's hash-pinned requirements."""
    return REPOSITORY / "requirements" / f"{image}.txt"


def ensure(image: str, report: Report) -> Path:
    """Return the folder with an image's packages, installed once for each version of its requirements.

    Raises:
        ClusterError: there is neither uv nor pip, or it failed.
    """
    pinned = requirements(image)
    key = hashlib.sha256(f"{PYTHON} {platform.machine()}\n".encode() + pinned.read_bytes()).hexdigest()[:12]
    parent = cache_dir() / "packages"
    target = parent / f"{image}-{key}"
    with locked(parent / ".lock", report, "another installation of packages"):
        if not target.exists():
            for old in parent.glob(f"{image}-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=parent) as folder:
                partial = Path(folder) / "packages"
                _install(pinned, partial, report)
                partial.replace(target)
    return target


def _install(pinned: Path, target: Path, report: Report) -> None:
    report(f"downloading the packages of {pinned.name}")
    start = time.monotonic()
    done = subprocess.run(_command(pinned, target), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"installing {pinned} failed:\n{done.stderr[-4000:]}")
    report(f"installed the packages of {pinned.name} in {time.monotonic() - start:.0f} s")


def _command(pinned: Path, target: Path) -> list[str]:
    machine = platform.machine()
    common = [
        *("--target", str(target), "--require-hashes", "--no-deps", "--requirement", str(pinned)),
        *("--only-binary", ":all:", "--python-version", PYTHON),
    ]
    if shutil.which("uv"):
        return [
            "uv",
            "pip",
            "install",
            "--quiet",
            "--link-mode=copy",
            "--python-platform",
            f"{machine}-manylinux_2_36",
            *common,
        ]
    if importlib.util.find_spec("pip"):
        platforms = [part for minor in _GLIBC_MINORS for part in ("--platform", f"manylinux_2_{minor}_{machine}")]
        return [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "--implementation=cp",
            *platforms,
            *common,
        ]
    raise ClusterError("neither uv nor pip is installed; one of them downloads the images' packages")
