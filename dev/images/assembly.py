"""Build what has changed, load what the cluster does not have."""

from collections.abc import Iterable, Mapping, Sequence

from dev.cluster import backend, tools
from dev.cluster.paths import REPOSITORY, Report, cache_dir, locked
from dev.images import base, builder, packages
from dev.images.builder import Build
from dev.images.catalogue import PYTHON_IMAGES, Image, content_hash, dockerfile, package_files

_KEPT_ARCHIVES = 3  # another command may be about to load the one before


def build(names: Sequence[str], report: Report) -> list[Image]:
    """Build the images of which there is no archive with the present content.

    Args:
        names: of ALL_IMAGES.
        report: told about progress.

    Raises:
        ClusterError: a tool is missing, or a build failed.
    """
    with locked(cache_dir() / "images.lock", report, "another build of images"):
        return [_ensure(name, report) for name in names]


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


def _ensure(name: str, report: Report) -> Image:
    return _python_image(name, report) if name in PYTHON_IMAGES else _s3_image(report)


def _python_image(name: str, report: Report) -> Image:
    arguments = {} if builder.uses_docker() else {"BASE": base.ensure(report)}
    parts = [dockerfile(name).read_text(), *arguments.values()]
    below = content_hash(parts, [packages.requirements(name)], REPOSITORY)
    image = Image(name, content_hash([below], package_files(), REPOSITORY))
    if not image.archive.exists():
        dependencies = f"localhost/modelyard-{name}-dependencies:{below}"
        if not builder.exists(dependencies):
            contexts = {"packages": packages.ensure(name, report)}
            stage = Build([dependencies], dockerfile(name), REPOSITORY, contexts, arguments, target="dependencies")
            builder.build(stage, None, report)
        _build(image, {"DEPENDENCIES": dependencies}, report)
    return image


def _s3_image(report: Report) -> Image:
    binary = tools.ensure(["versitygw"], report)["versitygw"]
    image = Image("s3", content_hash([dockerfile("s3").read_text(), str(binary)], [], REPOSITORY))
    if not image.archive.exists():
        contexts = {"binaries": binary.parent}
        builder.build(Build(image.names, dockerfile("s3"), REPOSITORY, contexts), image.archive, report)
    return image


def _build(image: Image, arguments: Mapping[str, str], report: Report) -> None:
    recipe = Build(image.names, dockerfile(image.name), REPOSITORY, arguments=arguments)
    builder.build(recipe, image.archive, report)
    archives = sorted(image.archive.parent.glob(f"modelyard-{image.name}-*.tar"), key=lambda a: a.stat().st_mtime)
    for archive in archives[:-_KEPT_ARCHIVES]:
        archive.unlink()
