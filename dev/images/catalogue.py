"""The images, and what each is made of."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.paths import REPOSITORY, cache_dir

REGISTRY = "docker.io/library"  # what a name without a registry means to a kubelet
DEVELOPMENT_TAG = "dev"
PYTHON_IMAGES = ("operator", "server", "trainer")
ALL_IMAGES = (*PYTHON_IMAGES, "s3")
_PACKAGE = REPOSITORY / "operator" / "modelyard"


@dataclass(frozen=True)
class Image:
    """One version of an image: the same content has the same tag."""

    name: str
    tag: str

    @property
    def archive(self) -> Path:
        """The file that it is exported to."""
        return cache_dir() / "images" / f"modelyard-{self.name}-{self.tag}.tar"

    @property
    def names(self) -> list[str]:
        """What pods may call it, short of `docker.io/library/`: by content, and as of the last load."""
        return [f"{REGISTRY}/modelyard-{self.name}:{tag}" for tag in (self.tag, DEVELOPMENT_TAG)]


def dockerfile(name: str) -> Path:
    """Return an image's recipe."""
    return Path(__file__).with_name(f"{name}.Dockerfile")


def package_files() -> list[Path]:
    """Return the files of the Python package, as far as images contain them."""
    return sorted(p for p in _PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def content_hash(parts: Iterable[str], files: Iterable[Path], root: Path) -> str:
    """Return twelve hexadecimal digits that change when a part, a file's path or its bytes change."""
    digest = hashlib.sha256(json.dumps(list(parts)).encode())
    for path in files:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\n{path.relative_to(root)} {content}".encode())
    return digest.hexdigest()[:12]
