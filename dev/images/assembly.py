"""Build what has changed, load what the cluster does not have."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from dev.cluster import backend, tools
from dev.cluster.paths import REPOSITORY, Report
from dev.images import base, builder, dependencies
from dev.images.builder import Build
from dev.images.catalogue import PYTHON_IMAGES, Image, content_hash, dockerfile, package_files


def build(names: Sequence[str], report: Report) -> list[Image]:
    """Build images of which no archive has the present content.

    Args:
        names: of ALL_IMAGES.
        report: told about progress.

    Raises:
        ClusterError: a tool is missing, or a build failed.
    """
    arguments = {} if builder.uses_docker() else {"BASE": base.ensure(report)}
    images = []
    for name in names:
        image = describe(name, arguments)
        if not image.archive.exists():
            recipe = Build(
                image.names,
                dockerfile(name),
                REPOSITORY,
                _contexts(name, report),
                arguments if name in PYTHON_IMAGES else {},
            )
            builder.build(recipe, image.archive, report)
            _delete_older(image)
        images.append(image)
    return images


def load(images: Iterable[Image], report: Report) -> None:
    """Load images that the cluster does not have; the tag `dev` always means the last one loaded."""
    cluster = backend.choose(report)
    present = cluster.images()
    for image in images:
        name, development_name = image.names
        if name not in present:
            report(f"loading {name}")
            cluster.load(image.archive)
        cluster.tag(name, development_name)


def describe(name: str, arguments: dict[str, str]) -> Image:
    """Return the version of an image that the working tree makes."""
    parts = [dockerfile(name).read_text(), "docker" if builder.uses_docker() else "buildah"]
    if name in PYTHON_IMAGES:
        files = [*package_files(), dependencies.requirements(name)]
        return Image(name, content_hash([*parts, *arguments.values()], files, REPOSITORY))
    return Image(name, content_hash([*parts, str(tools.path_of("versitygw"))], [], REPOSITORY))


def _contexts(name: str, report: Report) -> dict[str, Path]:
    if name in PYTHON_IMAGES:
        return {"dependencies": dependencies.ensure(name, report)}
    return {"binaries": tools.ensure(["versitygw"], report)["versitygw"].parent}


def _delete_older(image: Image) -> None:
    for archive in image.archive.parent.glob(f"modelyard-{image.name}-*.tar"):
        if archive != image.archive:
            archive.unlink()
