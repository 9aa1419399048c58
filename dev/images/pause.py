"""The bare-machine node's pause image."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from dev.cluster.config import PAUSE_IMAGE
from dev.cluster.errors import ClusterError
from dev.cluster.paths import Report, cache_dir
from dev.images.builder import Build, build

_DOCKERFILE = Path(__file__).with_name("pause.Dockerfile")


def ensure_archive(report: Report) -> Path:
    """Return the image's archive, built once for each version of its program.

    Raises:
        ClusterError: catatonit is not installed.
    """
    program = shutil.which("catatonit")
    if not program:
        raise ClusterError("catatonit is not installed; it is the program of the pause image")
    key = hashlib.sha256(_DOCKERFILE.read_bytes() + Path(program).read_bytes()).hexdigest()[:12]
    archive = cache_dir() / "images" / f"modelyard-pause-{key}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(program, Path(folder) / "catatonit")
            build(Build([PAUSE_IMAGE], _DOCKERFILE, Path(folder)), archive, report)
    return archive
