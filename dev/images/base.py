"""Debian with Python, made from Debian packages: the images' base where no registry is reachable."""

import hashlib
import json
import subprocess
import tempfile
import time
from pathlib import Path

from dev.cluster.errors import ClusterError
from dev.cluster.paths import Report
from dev.images.builder import Build, build, exists

_DOCKERFILE = Path(__file__).with_name("base.Dockerfile")
_SUITE = "bookworm"
_OPTIONS = [
    # Without it apt picks usrmerge, and with it all of Perl.
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    *("--variant=essential", "--include=python3.11,libstdc++6,ca-certificates,tzdata"),
    *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
    *("--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*"),
    "--customize-hook=ln -s /usr/bin/python3.11 $1/usr/local/bin/python",
    "--customize-hook=rm -rf $1/var/cache/apt $1/var/lib/apt $1/var/cache/debconf $1/var/log",
]


def key() -> str:
    """Return what changes when the base has to be made again."""
    recipe = json.dumps([_SUITE, _OPTIONS, _DOCKERFILE.read_text()])
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def ensure(report: Report) -> str:
    """Return the name of the base in the builder's store, made once.

    Raises:
        ClusterError: mmdebstrap failed.
    """
    name = f"localhost/modelyard-base:{key()}"
    if not exists(name):
        with tempfile.TemporaryDirectory() as folder:
            _bootstrap(Path(folder) / "rootfs.tar", report)
            build(Build([name], _DOCKERFILE, Path(folder)), None, report)
    return name


def _bootstrap(archive: Path, report: Report) -> None:
    report(f"making a Debian {_SUITE} base with Python 3.11 (about 25 s, then cached)")
    start = time.monotonic()
    # Without a mirror it takes the distribution's own, its updates and security updates.
    command = ["mmdebstrap", "--quiet", *_OPTIONS, _SUITE, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"mmdebstrap failed:\n{done.stderr[-4000:]}")
    report(f"made the base in {time.monotonic() - start:.0f} s")
