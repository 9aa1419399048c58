"""docker or buildah: build a Dockerfile into an image archive."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.cluster.errors import ClusterError
from dev.cluster.paths import Report, cache_dir
from dev.cluster.selection import selected


@dataclass(frozen=True)
class Build:
    """One image to build.

    Attributes:
        names: of the image; buildah writes the first into the archive.
        dockerfile: its recipe.
        context: the folder that COPY reads.
        contexts: further folders, for `COPY --from=<name>`.
        arguments: of the recipe (ARG).
        target: the stage to stop at.
    """

    names: Sequence[str]
    dockerfile: Path
    context: Path
    contexts: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None


def uses_docker() -> bool:
    """Whether images are built by docker, as they are where the cluster is kind's."""
    return selected() == "kind"


def build(what: Build, archive: Path | None, report: Report) -> None:
    """Build an image; write it to an archive if one is given.

    Raises:
        ClusterError: the build failed; has the end of its output.
    """
    report(f"building image {what.names[0]}")
    start = time.monotonic()
    options = [
        *("--file", str(what.dockerfile)),
        *(part for name in what.names for part in ("--tag", name)),
        *(part for name, path in what.contexts.items() for part in ("--build-context", f"{name}={path}")),
        *(part for name, value in what.arguments.items() for part in ("--build-arg", f"{name}={value}")),
        *(("--target", what.target) if what.target else ()),
        str(what.context),
    ]
    if uses_docker():
        _run(["docker", "buildx", "build", "--load", *options])
    else:
        _buildah("build", "--layers", "--isolation=chroot", "--pull-never", *options)
    if archive:
        _export(what.names, archive)
    report(f"built image {what.names[0]} in {time.monotonic() - start:.1f} s")


def exists(name: str) -> bool:
    """Whether the builder has an image of this name."""
    command = (
        ["docker", "image", "inspect", name]
        if uses_docker()
        else [*_buildah_command(), "inspect", "--type=image", name]
    )
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _export(names: Sequence[str], archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        partial = Path(folder) / archive.name
        if uses_docker():
            _run(["docker", "save", "--output", str(partial), *names])
        else:
            # Not oci-archive, whose layers are always compressed: that costs more than it saves on one machine.
            _buildah("push", "--quiet", names[0], f"docker-archive:{partial}:{names[0]}")
        partial.replace(archive)


def _buildah(*arguments: str) -> None:
    _run([*_buildah_command(), *arguments])


def _buildah_command() -> list[str]:
    root = cache_dir() / "buildah"
    return ["buildah", f"--root={root}/storage", f"--runroot={root}/run", "--storage-driver=overlay"]


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command[:4])} … failed:\n{done.stdout[-4000:]}")
