"""Virtual environments of their own for packages whose dependencies conflict with ours."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dev.cluster.paths import REPOSITORY, cache_dir

INSTALL_SECONDS = 300


def python_with(requirements: str) -> Path:
    """Return the interpreter of an environment with the pinned packages of `requirements/<name>`.

    It is made once and kept in the cache folder for as long as neither the requirements nor Python change.
    """
    file = REPOSITORY / "requirements" / requirements
    digest = hashlib.sha256(f"{sys.version}{sys.executable}".encode() + file.read_bytes()).hexdigest()[:16]
    folder = cache_dir() / "venvs" / digest
    python = folder / "bin" / "python"
    if not python.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent))
        _install(fresh, file)
        try:
            fresh.rename(folder)  # all at once: others may be doing the same
        except OSError:
            shutil.rmtree(fresh)
    return python


def _install(folder: Path, requirements: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    into = ["--python", str(folder / "bin" / "python")]
    for command in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)],
        [uv, "pip", "sync", "--quiet", "--require-hashes", *into, str(requirements)],
    ):
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
